"""A recorded run: the deployment guide under load, with bad candidates and killed processes (``make recording``)."""
