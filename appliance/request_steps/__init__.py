"""The steps of ``request_flow``, in the order of their use there."""
