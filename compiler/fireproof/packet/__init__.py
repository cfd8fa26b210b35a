"""Raw IP packets, from the IP header on: read, make, rewrite, put into words, answer as `reject` does, keep in a file.

Take the module you need: parse, build, fragments, rewrite, notation, description, answer, capture. No packet here has a
link-layer header. Source of the formats: the RFCs; of what the kernel does with odd packets: Linux 6.18.
"""
