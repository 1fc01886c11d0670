"""What a `Call` is made of: ears, which keep what the caller did until somebody asks; a mouth, which
knows what stops it; claims, by which two do not wait for the same thing.
"""
