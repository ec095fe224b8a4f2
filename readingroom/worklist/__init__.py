"""The ranked list of studies and the tasks people must look at."""
