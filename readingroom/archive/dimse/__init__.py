"""The DICOM network side of the archive: an upper layer (PS3.8) and message exchange (PS3.7) of our own.

It exists for speed: bytes go from the socket to the store without being decoded or encoded again, an answer is one
write, and accepted sockets neither delay acknowledgements nor wait to send. ``receiver`` listens, ``association``
drives one peer by the state table in ``fsm``, ``negotiation`` decides what is accepted, ``pdu`` and ``commands`` know
the bytes; ``requestor`` is the sending side, for deliveries.
"""
