"""Raw IP packets, from the IP header on: read, make, rewrite, write down in words, answer as `reject` does, keep in a
file.

Take the module you need: parse, build, fragments, rewrite, notation, answer, capture. Only bytes and ints inside; a
link-layer header is never part of a packet here. Source of the formats: the RFCs; of what the kernel does with odd
packets: Linux 6.18.
"""
