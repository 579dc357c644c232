"""Header parser: microobservatory."""


def parse_header(header):
    raise NotImplementedError
