"""Tokens of an issuer, which is a real one over HTTP: what does not hold to the letter is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from streams.access import oidc
from streams.access.oidc import Oidc
from streams.access.principal import NotKnown, NotKnownNow, Principal
from streams.settings import SettingsError
from tests.issuer import AUDIENCE, Issuer, jwk


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    await issuer.start()
    yield issuer
    await issuer.stop()


async def test_a_good_token(issuer: Issuer) -> None:
    """It says who somebody is, and in which groups; until when it says so, too. Keys are asked for once."""
    known = Oidc(issuer.url, AUDIENCE)
    for algorithm in ("RS256", "RS512", "PS256"):
        found = await known.identify(issuer.token("alice", algorithm=algorithm, groups=["staff", "a b", 7]))
        assert Principal("oidc", "alice", ("staff", "a b")) == found.principal
        assert found.until is not None
        assert 60 <= found.until - time.time() <= 91
    several = await known.identify(issuer.token("bob", aud=["another", AUDIENCE], groups="staff"))
    assert Principal("oidc", "bob") == several.principal
    assert 1 == issuer.asked


async def test_bad_tokens(issuer: Issuer) -> None:
    """Whatever is wrong with a token, it is nobody's, and nothing fails."""
    known = Oidc(issuer.url, AUDIENCE)
    assert "alice" == (await known.identify(issuer.token())).principal.name
    for what, token in issuer.bad_tokens().items():
        with pytest.raises(NotKnown):
            print(what, await known.identify(token))


async def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    """A token that has ended a moment ago holds still."""
    now = int(time.time())
    assert await Oidc(issuer.url, AUDIENCE).identify(issuer.token(exp=now - 10, nbf=now + 10))


async def test_rotation(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is new is found at once; one that is published no more is of no use when keys are read anew."""
    known = Oidc(issuer.url, AUDIENCE)
    before = issuer.token()
    await known.identify(before)
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)
    issuer.rotate("second", keep=True)
    assert await known.identify(issuer.token())
    assert await known.identify(before)
    issuer.rotate("third")
    assert await known.identify(issuer.token())
    with pytest.raises(NotKnown):
        await known.identify(before)


async def test_strangers_do_not_have_keys_asked_for(issuer: Issuer) -> None:
    """However many tokens name keys that there are not, the issuer is asked once in a while."""
    known = Oidc(issuer.url, AUDIENCE)
    await known.identify(issuer.token())
    for number in range(20):
        with pytest.raises(NotKnown):
            await known.identify(issuer.token(kid=f"k{number}", key=issuer.keys[issuer.newest]))
    assert 1 == issuer.asked


async def test_an_issuer_that_does_not_answer(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys nobody can be known; with keys of late it does not matter."""
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0.0)
    issuer.status = 500
    known = Oidc(issuer.url, AUDIENCE)
    with pytest.raises(NotKnownNow):
        await known.identify(issuer.token())
    issuer.status = 200
    await known.identify(issuer.token())
    issuer.status = 500
    monkeypatch.setattr(oidc, "FRESH_SECONDS", 0.0)
    assert await known.identify(issuer.token())
    monkeypatch.setattr(oidc, "OLDEST_SECONDS", 0.0)
    with pytest.raises(NotKnownNow):
        await known.identify(issuer.token())


async def test_another_issuer(issuer: Issuer) -> None:
    """Who answers at the address of the issuer and calls himself otherwise is not believed."""
    issuer.calls_itself = "https://evil.example"
    with pytest.raises(NotKnownNow):
        await Oidc(issuer.url, AUDIENCE).identify(issuer.token())


async def test_keys_of_all_kinds(issuer: Issuer) -> None:
    """A key is for the algorithms of its kind, and for the one that it names; secrets, keys for other uses, and what
    cannot be read are passed over."""
    curve = ec.generate_private_key(ec.SECP256R1())
    rsa_key = issuer.keys[issuer.newest]
    issuer.more_keys = [
        jwk(curve) | {"kid": "curve"},
        jwk(rsa_key) | {"kid": "only 512", "alg": "RS512"},
        jwk(rsa_key) | {"kid": "to encrypt", "use": "enc"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        {"kty": "RSA", "kid": "half"},
        {"kty": "EC", "crv": "P-256", "kid": "half too", "x": "!"},
        {},
    ]
    known = Oidc(issuer.url, AUDIENCE)
    assert await known.identify(issuer.token(kid="curve", key=curve, algorithm="ES256"))
    assert await known.identify(issuer.token(kid="only 512", key=rsa_key, algorithm="RS512"))
    for token in (
        issuer.token(kid="only 512", key=rsa_key, algorithm="RS256"),
        issuer.token(kid="curve", key=rsa_key, algorithm="RS256"),
        issuer.token(kid="to encrypt", key=rsa_key),
        issuer.token(kid="secret", key="secret" * 8, algorithm="HS256"),
        issuer.token(kid="half", key=rsa_key),
    ):
        with pytest.raises(NotKnown):
            await known.identify(token)


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://issuer.example", "issuer", "", "https://", "http://127.0.0.1.evil.example"]
)
def test_where_anybody_could_publish_keys(url: str) -> None:
    """An issuer in the clear is none, but on this machine."""
    with pytest.raises(SettingsError, match="HTTP_OIDC_ISSUER"):
        Oidc(url, AUDIENCE)
