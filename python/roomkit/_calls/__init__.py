"""What a `Call` is made of: ears, which keep what the caller did until somebody asks; a mouth, that
knows what stops it; claims, by which no two wait for one thing."""
