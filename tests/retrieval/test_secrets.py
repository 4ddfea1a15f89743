"""Planted secrets of every kind are starred out, on the way into the index and out of it; code stays as it is."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import secrets
from retrieval.index import index
from retrieval.search import search
from retrieval.search.search import Query

HEX = "0123456789abcdef"
ALNUM = string.ascii_letters + string.digits
URL64 = ALNUM + "-_"
UPPER = string.ascii_uppercase + string.digits


def some(chance: Random, alphabet: str, length: int) -> str:
    """Random characters with a digit among them, as every real key has."""
    body = [chance.choice(alphabet) for _ in range(length)]
    body[chance.randrange(length)] = chance.choice([one for one in alphabet if one.isdigit()] or [alphabet[0]])
    return "".join(body)


def base32(chance: Random, length: int) -> str:
    return some(chance, string.ascii_uppercase + "234567", length)


def b64(chance: Random, length: int) -> str:
    return base64.b64encode(chance.randbytes(length)).decode()


# kind → what a secret of that kind looks like; every format is a service's published one, the values are random
FORMATS: dict[str, Callable[[Random], str]] = {
    "aws key id": lambda r: "AKIA" + base32(r, 16),
    "github classic": lambda r: "ghp_" + some(r, ALNUM, 36),
    "github oauth": lambda r: "gho_" + some(r, ALNUM, 36),
    "github fine-grained": lambda r: f"github_pat_{some(r, ALNUM, 22)}_{some(r, ALNUM, 59)}",
    "gitlab": lambda r: "glpat-" + some(r, URL64, 20),
    "slack bot": lambda r: f"xoxb-{some(r, string.digits, 12)}-{some(r, string.digits, 12)}-{some(r, ALNUM, 24)}",
    "slack webhook": lambda r: (
        f"https://hooks.slack.com/services/T{some(r, UPPER, 8)}/B{some(r, UPPER, 8)}/{some(r, ALNUM, 24)}"
    ),
    "discord webhook": lambda r: f"https://discord.com/api/webhooks/{some(r, string.digits, 18)}/{some(r, URL64, 68)}",
    "stripe": lambda r: "sk_live_" + some(r, ALNUM, 24),
    "stripe webhook": lambda r: "whsec_" + some(r, ALNUM, 32),
    "google api": lambda r: "AIza" + some(r, URL64, 35),
    "google oauth secret": lambda r: "GOCSPX-" + some(r, URL64, 28),
    "openai": lambda r: "sk-proj-" + some(r, ALNUM, 48),
    "anthropic": lambda r: "sk-ant-api03-" + some(r, URL64, 93),
    "hugging face": lambda r: "hf_" + some(r, ALNUM, 34),
    "npm": lambda r: "npm_" + some(r, ALNUM, 36),
    "pypi": lambda r: "pypi-AgEIcHlwaS5vcmc" + some(r, URL64, 60),
    "rubygems": lambda r: "rubygems_" + some(r, HEX, 48),
    "docker": lambda r: "dckr_pat_" + some(r, URL64, 27),
    "sendgrid": lambda r: f"SG.{some(r, URL64, 22)}.{some(r, URL64, 43)}",
    "twilio": lambda r: "SK" + some(r, HEX, 32),
    "mailgun": lambda r: "key-" + some(r, HEX, 32),
    "mailchimp": lambda r: some(r, HEX, 32) + "-us12",
    "telegram": lambda r: f"{some(r, string.digits[1:], 9)}:AA{some(r, URL64, 33)}",
    "json web token": lambda r: f"eyJ{some(r, URL64, 20)}.eyJ{some(r, URL64, 40)}.{some(r, URL64, 43)}",
    "azure storage": lambda r: f"AccountKey={b64(r, 64)}",
    "digitalocean": lambda r: "dop_v1_" + some(r, HEX, 64),
    "shopify": lambda r: "shpat_" + some(r, HEX, 32),
    "square": lambda r: "sq0atp-" + some(r, URL64, 22),
    "databricks": lambda r: "dapi" + some(r, HEX, 32),
    "vault": lambda r: "hvs." + some(r, URL64, 90),
    "linear": lambda r: "lin_api_" + some(r, ALNUM, 40),
    "figma": lambda r: "figd_" + some(r, URL64, 40),
    "grafana": lambda r: f"glsa_{some(r, ALNUM, 32)}_{some(r, HEX, 8)}",
    "new relic": lambda r: "NRAK-" + some(r, UPPER, 27),
    "atlassian": lambda r: "ATATT3xFfGF0" + some(r, URL64, 60),
    "age": lambda r: "AGE-SECRET-KEY-1" + some(r, UPPER, 58),
    "bearer": lambda r: "Authorization: Bearer " + some(r, URL64, 40),
    "basic": lambda r: "Authorization: Basic " + b64(r, 24),
    "password in url": lambda r: f"postgres://app:{some(r, ALNUM, 14)}@db.internal:5432/shop",
    "private key": lambda r: (
        f"-----BEGIN RSA PRIVATE KEY-----\n{b64(r, 48)}\n{b64(r, 48)}\n-----END RSA PRIVATE KEY-----"
    ),
}
# Ways in which a value that no format betrays is still told by the name it is given.
NAMED: dict[str, str] = {
    "python": 'DATABASE_PASSWORD = "{}"',
    "keyword": 'connect(host="db", password="{}")',
    "json": '{{"client_secret": "{}"}}',
    "yaml": "api_key: {}",
    "shell": "export SECRET_TOKEN={}",
    "typescript": "const apiKey: string = '{}';",
    "ruby": "config[:secret_key] => '{}'",
    "env": "AUTH_KEY={}",
}


def bare(planted: str) -> list[str]:
    """The pieces of a planted text that must not be seen: its long runs of key characters."""
    for mark in ("AccountKey=", "Bearer ", "Basic ", "services/", "webhooks/"):
        planted = planted.rpartition(mark)[2]
    if "@" in planted:
        return [planted.split(":")[2].split("@")[0]]
    return [line for line in planted.split("\n") if not line.startswith("-----")]


def assert_hidden(planted: str, text: str) -> None:
    for piece in bare(planted):
        assert piece not in text
        assert piece[len(piece) // 4 : -len(piece) // 4 or None] not in text


@pytest.mark.parametrize("kind", FORMATS)
@given(seed=st.integers(0, 2**32), quote=st.sampled_from(['"', "'", "`", ""]), indent=st.integers(0, 8))
def test_a_planted_secret_is_starred_out_wherever_it_stands(kind: str, seed: int, quote: str, indent: int) -> None:
    planted = FORMATS[kind](Random(seed))
    text = f"def f():\n{' ' * indent}value = {quote}{planted}{quote}\n    return value\n"
    masked = secrets.mask(text, "app/config.py")
    assert len(masked) == len(text)
    assert masked.count("\n") == text.count("\n")
    assert_hidden(planted, masked)


@pytest.mark.parametrize("place", NAMED)
@given(seed=st.integers(0, 2**32), length=st.integers(10, 40))
def test_a_value_given_to_a_secret_name_is_starred_out(place: str, seed: int, length: int) -> None:
    value = some(Random(seed), ALNUM, length) + "A1z"
    assert value not in secrets.mask(f"first = 1\n{NAMED[place].format(value)}\nlast = 2\n")


def test_no_planted_secret_reaches_a_prompt_or_the_index(tmp_path: Path) -> None:
    chance = Random(1)
    planted = {kind: make(chance) for kind, make in FORMATS.items()}
    lines = [f"{kind.upper().replace(' ', '_').replace('-', '_')} = '''{value}'''" for kind, value in planted.items()]
    functions = [
        f"def use_{n}(x={value!r}):\n    '''{value}'''\n    return x\n" for n, value in enumerate(planted.values())
    ]
    (tmp_path / "keys.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "uses.py").write_text("\n\n".join(functions))
    (tmp_path / ".env").write_text("\n".join(f"VALUE_{n}={value}" for n, value in enumerate(planted.values())))
    text = "from keys import *\nfrom uses import *\n" + "".join(f"use_{n}()\n" for n in range(len(functions)))
    made = index.opened(tmp_path, tmp_path / "cache")
    seen = "".join(snippet.text for snippet in search.rank(Query("main.py", text, len(text)), made))
    seen += "".join(found.chunk.text for found in made.mentioning({"return": 1.0, "VALUE_1": 1.0}, 100, ""))
    made.store.close()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir()).decode("latin-1")
    assert "use_1" in stored
    for value in planted.values():
        for piece in bare(value):
            assert piece not in seen
            assert piece not in stored


ORDINARY = '''
import os
from app import settings

def login(request, password: str, token=None):
    """Checks the password and returns a token."""
    user = authenticate(username=request.user, password=password)
    secret = os.environ["APP_SECRET"]
    api_key = settings.API_KEY
    access_token = get_access_token(user, scope="read:all")
    next_token = tokenizer.next_token()
    digest = hashlib.sha256(password.encode("utf-8")).hexdigest()
    url = "https://example.com/path/to/a/resource?page=2&sort=name"
    primary_key = models.CharField(max_length=64)
    token_type = "bearer"
    token = b64encode(userpass).decode()
    return redirect(reverse("password_reset_confirm"), token=token)

MIGRATIONS = ["0001_initial", "0002_auto_20240101_1200_add_field_to_model"]
VeryLongClassNameForTestingPurposesInTheBackend2 = None
'''


def test_ordinary_code_stays_as_it_is() -> None:
    assert secrets.mask(ORDINARY, "app/login.py") == ORDINARY


def test_this_projects_own_code_stays_as_it_is() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    for path in sorted((root / "retrieval").glob("*.py")) + sorted((root / "lsp_server").glob("*.py")):
        text = path.read_text("utf-8")
        assert secrets.mask(text, path.name) == text, [text[s.start : s.end] for s in secrets.spans(text)]


def test_a_secret_of_the_edited_file_itself_is_starred_out() -> None:
    text = 'def connect(password="Tr0ub4dor&3x"): pass\n' + "\n" * 50 + "connect("
    made = index.empty()
    (snippet,) = search.rank(Query("a.py", text, len(text), window=(len(text) - 20, len(text))), made)
    assert snippet.text == 'def connect(password="************"):\n'


def test_every_value_of_an_environment_file_is_starred_out_but_not_of_its_example() -> None:
    text = "DEBUG=1\nNAME=shop  # a comment\n"
    assert secrets.mask(text, "deploy/.env") == "DEBUG=*\nNAME=" + "*" * len("shop  # a comment") + "\n"
    assert secrets.mask(text, ".env.example") == text


@given(st.text(max_size=300))
def test_any_text_keeps_its_length_and_lines(text: str) -> None:
    masked = secrets.mask(text)
    assert len(masked) == len(text)
    assert [at for at, char in enumerate(masked) if char in "\r\n"] == [
        at for at, char in enumerate(text) if char in "\r\n"
    ]
