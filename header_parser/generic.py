"""Header parser: generic."""


def parse_header(header):
    raise NotImplementedError
