"""Seeds derived from what they are for, so that nothing random depends on order or neighbours."""

from hashlib import blake2b


def derive(*parts: str | int) -> int:
    """A 63-bit seed from its parts: the user's seed, task, model, path of steps, example, call, attempt ...

    >>> derive(0, "iris", "p") == derive(0, "iris", "p") != derive(0, "iris", "w")
    True
    """
    # Each part carries its length, so that ("ab", "c") and ("a", "bc") differ.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big") >> 1
