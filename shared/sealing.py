"""Encrypts what the database must keep and nobody may read there."""

from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.contracts.errors import ZepidError


class Seal:
    """Encrypts small texts with the first of its keys and reads what any of them encrypted.

    To rotate, put a new key in front; drop an old one when nothing encrypted with it is left.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """Take Fernet keys (32 bytes as URL-safe Base64); without any, nothing can be sealed or opened."""
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def seal(self, text: str) -> str:
        """Return the text encrypted; raises ENCRYPTION_KEY_MISSING."""
        return self._keys().encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the text that was sealed.

        Raises:
            ZepidError: ENCRYPTION_KEY_MISSING; SECRET_UNREADABLE, none of the keys sealed it.
        """
        try:
            return self._keys().decrypt(sealed).decode()
        except InvalidToken:
            message = "a stored secret can't be decrypted: none of ENCRYPTION_KEYS is the key that encrypted it"
            raise ZepidError("SECRET_UNREADABLE", message) from None

    def open_each(self, sealed: Mapping[str, str]) -> dict[str, str]:
        """Return sealed texts by the same names; raises like `open`."""
        return {name: self.open(value) for name, value in sealed.items()}

    def _keys(self) -> MultiFernet:
        if self._fernet is None:
            raise ZepidError("ENCRYPTION_KEY_MISSING", "the service has no key to encrypt secrets with")
        return self._fernet
