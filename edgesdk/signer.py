"""External signers: a hardware token, a cloud KMS, a colleague with a card.

``exec:COMMAND`` names a program. The command is split as a shell would split it, and run without
one; its standard error and its environment are ours. Each run gets one line of canonical JSON on
its standard input, and answers with one line of JSON on its standard output:

=====================================================  ==============================
``{"command":"public"}``                               ``{"keys":{"ed25519":…, …}}``
``{"algorithm":…,"context":…,"message":…}``            ``{"signature":…}``
=====================================================  ==============================

Bytes are base64; algorithms are named as in docs/bundle-format.md. docs/keys.md has an example.

Order of checks of an answer: in time; within its bound; exit status 0; JSON; members; and a
signature must verify under the key that the program itself has named. Whatever fails is a
``KeyUnavailableError`` with the reason ``provider``.
"""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgesdk import canonical, primitives
from edgesdk.errors import (
    ConfigurationError,
    KeyUnavailableError,
    MalformedBundleError,
    SignatureError,
)
from edgesdk.limits import SIGNER
from edgesdk.record import fits, parse_public_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesdk.primitives import Algorithm


class ExecSigner:
    """A program that signs. Every signature is verified before it is used."""

    def __init__(self, command: str, *, timeout: float = SIGNER.seconds) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as cause:
            raise ConfigurationError("invalid", f"expected a command, got: {cause}") from None
        if not self._arguments:
            raise ConfigurationError("invalid", "expected a command after exec:, got none")
        self._timeout = timeout
        self._keys: dict[Algorithm, bytes] | None = None

    def keys(self) -> Mapping[Algorithm, bytes]:
        """What the program says its public keys are; asked once."""
        if self._keys is None:
            answer = self._ask({"command": "public"})
            try:
                found = parse_public_keys(answer.nested("keys"))
            except MalformedBundleError as cause:
                raise _unusable(cause.message) from None
            answer.end()
            if not fits("signer", found):
                raise _provider("ed25519, ml-dsa-65 or both", "other public keys")
            self._keys = found
        return MappingProxyType(self._keys)

    def sign(self, message: bytes, context: bytes) -> dict[Algorithm, bytes]:
        """One run for each algorithm."""
        return {a: self._sign(a, message, context) for a in self.keys()}

    def _sign(self, algorithm: Algorithm, message: bytes, context: bytes) -> bytes:
        answer = self._ask(
            {
                "algorithm": algorithm.label,
                "context": canonical.to_base64(context),
                "message": canonical.to_base64(message),
            }
        )
        signature = answer.base64("signature", size=algorithm.sizes.signature)
        answer.end()
        try:
            primitives.verify(algorithm, self.keys()[algorithm], signature, message, context)
        except SignatureError:
            raise _provider("a signature by its own key", "another") from None
        return signature

    def _ask(self, question: canonical.JSON) -> canonical.Fields:
        output = _run(self._arguments, canonical.encode(question) + b"\n", self._timeout)
        answer = canonical.parse_lenient(output, error=_unusable)
        return canonical.Fields(answer, "the answer", _unusable)


def _run(arguments: list[str], question: bytes, seconds: float) -> bytes:
    """Start a program, give it the question, and take a bounded answer within a bounded time."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator names the program; there is no shell
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    except (OSError, ValueError) as cause:
        raise _provider("a program that starts", f"{arguments[0]}: {cause}") from None
    deadline = time.monotonic() + seconds
    with process:
        try:
            answer = _converse(process, question, deadline)
            status = process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise _provider(f"an answer within {seconds:g} s", "none") from None
        finally:
            process.kill()
    if status != 0:
        raise _provider("exit status 0", str(status))
    return answer


def _converse(process: subprocess.Popen[bytes], question: bytes, deadline: float) -> bytes:
    """Write and read side by side, so that neither full pipe can stop the other."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("expected pipes to the program, got none")
    writing, reading = process.stdin.fileno(), process.stdout.fileno()
    streams = {writing: process.stdin, reading: process.stdout}
    answer = b""
    with selectors.DefaultSelector() as selector:
        for descriptor, event in (
            (writing, selectors.EVENT_WRITE),
            (reading, selectors.EVENT_READ),
        ):
            os.set_blocking(descriptor, False)
            selector.register(descriptor, event)
        while streams:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fd == writing:
                    part = question = _write_some(writing, question)
                else:
                    part = os.read(reading, SIGNER.answer_bytes)
                    answer += part
                if not part:
                    selector.unregister(key.fd)
                    streams.pop(key.fd).close()
            if len(answer) > SIGNER.answer_bytes:
                raise _provider(f"at most {SIGNER.answer_bytes} bytes", "more")
    return answer


def _write_some(descriptor: int, data: bytes) -> bytes:
    """What remains to be written; nothing, when the program does not want to hear it."""
    try:
        return data[os.write(descriptor, data) :]
    except BrokenPipeError:
        return b""


def _unusable(text: str) -> KeyUnavailableError:
    return KeyUnavailableError("provider", f"an external signer: {text}")


def _provider(expected: str, came: str) -> KeyUnavailableError:
    return _unusable(f"expected {expected}, got {came}")
