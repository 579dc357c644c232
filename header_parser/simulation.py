"""Header parser: simulation."""


def parse_header(header):
    raise NotImplementedError
