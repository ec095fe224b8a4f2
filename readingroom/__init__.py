"""Reading Room: self-hosted AI for medical imaging that works inside the radiologist's day.

Research software: not cleared for clinical use. Every screen and object that shows AI output says so.
"""

import os

# onnxruntime sends its maker what it runs, unless told not to before it is loaded. From here nothing is sent.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

RESEARCH_NOTICE = "Research use only. Not cleared for clinical use."
