"""Text in, the same text with its secrets starred out, character for character.

Judges by content, not by the file's name: known key and token formats, private keys, passwords
in URLs, values given to names that say "secret", and long random-looking strings in such a
place. A mask keeps length and line breaks, so offsets stay valid. Ignores what the text means.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from retrieval import commands

MASK = "*"


class Secret(NamedTuple):
    """Characters [start, end) of the text hold a secret of this kind."""

    start: int
    end: int
    kind: str


# Each pattern's group "s" is the secret; without such a group the whole match is.

_BLOCKS: tuple[tuple[str, str], ...] = (  # over several lines
    (
        "private key",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?P<s>.*?)(?:-----END|\Z)",
    ),
    ("putty key", r"Private-Lines: \d+\s*(?P<s>(?:[A-Za-z0-9+/=]+\s*)+)"),
)
_CUED: tuple[tuple[str, str, str], ...] = (  # (kind, a string that every match holds, pattern)
    ("password in url", "://", r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/@\"'<>{}$%*]*:(?P<s>[^\s:/@\"'<>{}$*]+)@"),
    ("authorization", "asic ", r"(?i:\bbasic) (?P<s>(?=[A-Za-z+/]*[0-9=])[A-Za-z0-9+/]{12,}={0,2})(?![A-Za-z0-9+/=])"),
    ("authorization", "earer ", r"(?i:\bbearer) (?P<s>[A-Za-z0-9._~+/=-]{16,})"),
    ("netrc", "password ", r"\blogin\s+\S+\s+password\s+(?P<s>\S{3,})"),
    ("password hash", "$", r"\$(?:apr1|2[aby]|5|6|argon2\w*|y)\$[./A-Za-z0-9$,=]{20,}"),
)
# Tried only on lines with a run of token characters and a digit among them: few lines have one.
_TOKENS: tuple[tuple[str, str], ...] = (
    ("age key", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    ("aws key id", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("github token", r"\bgh[pousr]_[A-Za-z0-9]{20,255}"),
    ("github token", r"\bgithub_pat_[A-Za-z0-9_]{22,255}"),
    ("gitlab token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_-]{16,}"),
    ("slack token", r"\bx(?:ox[a-z]|app)-[A-Za-z0-9-]{10,}"),
    (
        "webhook",
        (
            r"https://(?:hooks\.slack\.com/\w+/|(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/"
            r"|[\w-]+\.webhook\.office\.com/webhookb2/)(?P<s>[A-Za-z0-9/_@-]{20,})"
        ),
    ),
    ("stripe key", r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    ("webhook secret", r"\bwhsec_[A-Za-z0-9+/=]{16,}"),
    ("google api key", r"\bAIza[A-Za-z0-9_-]{30,}"),
    ("google oauth", r"\b(?:ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[\w-]{20,}|1//0[\w-]{30,})"),
    ("openai key", r"\bsk-(?:proj-|svcacct-|admin-|ant-|or-|lf-)?[A-Za-z0-9_-]{20,}"),
    ("hugging face token", r"\b(?:hf_|api_org_)[A-Za-z0-9]{20,}"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{30,}"),
    ("package token", r"\b(?:pypi-[\w-]{40,}|rubygems_[0-9a-f]{40,}|oy2[a-z0-9]{43}\b)"),
    ("docker token", r"\bdckr_(?:pat|oat)_[\w-]{20,}"),
    ("sendgrid key", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    ("twilio key", r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    ("mailgun key", r"\bkey-[0-9a-zA-Z]{32}\b"),
    ("mailchimp key", r"\b[0-9a-f]{32}-us\d{1,2}\b"),
    ("telegram token", r"\b\d{8,10}:AA[\w-]{32,}"),
    ("discord token", r"\b[MNO][A-Za-z\d_-]{22,27}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,40}\b"),
    ("json web token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    ("azure key", r"(?:AccountKey|SharedAccessKey)=(?P<s>[A-Za-z0-9+/=]{20,})"),
    ("azure signature", r"[?&;]sig=(?P<s>[A-Za-z0-9%+/=_-]{20,})"),
    ("azure secret", r"\b[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    ("digitalocean token", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
    ("shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
    ("square token", r"\b(?:sq0[a-z]{3}-[\w-]{22,}|EAAA[\w-]{60,})"),
    ("databricks token", r"\bdapi[0-9a-f]{32}(?:-\d)?\b"),
    ("vault token", r"\bhv[sbr]\.[\w-]{20,}"),
    ("linear key", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    ("notion token", r"\b(?:ntn_|secret_)[A-Za-z0-9]{40,}"),
    ("figma token", r"\bfigd_[\w-]{30,}"),
    ("grafana token", r"\b(?:glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}|glc_[A-Za-z0-9+/=]{32,})"),
    ("new relic key", r"\bNR(?:AK|JS)-[A-Za-z0-9]{19,}"),
    ("sentry token", r"\bsntry[su]_[A-Za-z0-9+/=_]{30,}"),
    ("atlassian token", r"\bAT(?:ATT|CTT)3[A-Za-z0-9_=-]{40,}"),
    ("postman key", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("terraform token", r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}"),
    ("planetscale token", r"\bpscale_(?:tkn|pw|oauth)_[\w.-]{32,}"),
    ("fly token", r"\b(?:fo1_[\w-]{43}|fm[12]?[ar]?_[A-Za-z0-9+/=_]{60,})"),
    ("groq key", r"\bgsk_[A-Za-z0-9]{40,}"),
    ("replicate token", r"\br8_[A-Za-z0-9]{30,}"),
    ("artifactory token", r"\b(?:AKC[A-Za-z0-9]{10,}|cmVmdGtu[A-Za-z0-9]{40,})"),
)
_SEVERAL_LINES = tuple((kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _BLOCKS)
_WITH_CUE = tuple((kind, cue, re.compile(pattern)) for kind, cue, pattern in _CUED)
_ONE_TOKEN = tuple((kind, re.compile(pattern)) for kind, pattern in _TOKENS)
_RUN = re.compile(r"(?<![\w+/=.~-])[\w+/=.~-]{15,}", re.ASCII)

_WORDS = ("passw", "passphrase", "_pass", "pwd", "secret", "token", "credential", "salt", "dsn")
_KEYS = (
    "api",
    "access",
    "auth",
    "private",
    "signing",
    "encryption",
    "master",
    "licence",
    "license",
    "account",
    "shared",
)
# What follows the telling word: …name = "value", …": "value", …: str = value, … => 'value'
_ASSIGNED = re.compile(
    r"[\w.-]{0,24}[\"']?\]?\s{0,3}(?::\s?[\w.\[\]|]{1,20}\s?)?(?:=>|:=|=(?!=)|:)\s{0,3}"
    r"[bru]?(?:\"(?P<d>[^\"\n]{6,})\"|'(?P<q>[^'\n]{6,})'|(?P<b>[^\s\"'`,;(){}\[\]<>]{8,}+(?!\()))"
)
_RANDOM = re.compile(r"[\"'=: ](?P<s>[A-Za-z0-9+/_-]{32,}={0,2})(?:[\"'\s]|$)")
_ALPHABET = re.compile(r"(?i)abcdefghij|0123456789")
_DIGIT = re.compile(r"\d", re.ASCII)
_LOWER = {upper: upper + 32 for upper in range(65, 91)}
_ENV_LINE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_.]*[ \t]*=[ \t]*(?P<s>[^\s#][^\n]*)$", re.MULTILINE
)
_PLACEHOLDER = re.compile(
    r"(?i)(?:[*x.•_-]+$|<.*>$|%.*%$|\$|\{\{|process\.env|os\.environ|env\[|getenv"
    r"|(?:your|my|the|change|example|sample|dummy|placeholder|redacted|todo|none|null|true|false|undefined"
    r"|test|password|secret|token|foo|bar)\D*$)"
)
_CODE = re.compile(r"^[A-Za-z_][A-Za-z_]*(?:(?:\.|::|->)[A-Za-z_]\w*)*$|[()\[\]{}<>]")


def spans(text: str, path: str = "") -> tuple[Secret, ...]:
    """The secrets of a text, in order and without overlap. `path` only tells .env files, whose every value is one."""
    found: list[Secret] = []
    if "PRIVATE KEY" in text or "Private-Lines" in text:
        for kind, pattern in _SEVERAL_LINES:
            found.extend(_matches(kind, pattern, text))
    for kind, cue, pattern in _WITH_CUE:
        if cue in text:
            found.extend(_matches(kind, pattern, text))
    found.extend(_tokens(text))
    found.extend(_assigned(text))
    found.extend(Secret(start, end, "option of a command") for start, end in commands.spans(text))
    if _is_env(path):
        found.extend(_matches("environment value", _ENV_LINE, text))
    return _merged(found)


def mask(text: str, path: str = "") -> str:
    """The text with every secret's characters starred; length and line breaks stay."""
    found = spans(text, path)
    if not found:
        return text
    pieces, at = [], 0
    for secret in found:
        pieces.append(text[at : secret.start])
        pieces.append(re.sub(r"[^\n\r]", MASK, text[secret.start : secret.end]))
        at = secret.end
    pieces.append(text[at:])
    return "".join(pieces)


def entropy(text: str) -> float:
    """Shannon entropy of the text's characters, in bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values()) if text else 0.0


def _matches(kind: str, pattern: re.Pattern[str], text: str, start: int = 0, end: int = sys.maxsize) -> list[Secret]:
    group = "s" if "s" in pattern.groupindex else 0
    return [Secret(*match.span(group), kind) for match in pattern.finditer(text, start, end)]


def _tokens(text: str) -> list[Secret]:
    """Secrets of a known format, and random strings, on the lines that can hold one."""
    found: list[Secret] = []
    done = 0
    for run in _RUN.finditer(text):
        if run.start() < done or not _DIGIT.search(run[0]):
            continue
        start = text.rfind("\n", 0, run.start()) + 1
        end = text.find("\n", run.end())
        done = len(text) if end < 0 else end
        for kind, pattern in _ONE_TOKEN:
            found.extend(_matches(kind, pattern, text, start, done))
        found.extend(_random(text, start, done))
    return found


def _assigned(text: str) -> list[Secret]:
    """Values given to names that say they are secret."""
    found = []
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter of another alphabet whose small form is longer
        lowered = text.translate(_LOWER)
    for at in _told(lowered):
        match = _ASSIGNED.match(text, at)
        if match is None:
            continue
        group = match.lastgroup or "b"
        value = match[group]
        if _PLACEHOLDER.match(value) or (group == "b" and _is_code(value)):
            continue
        if group != "b" and not _looks_chosen(value):
            continue
        found.append(Secret(*match.span(group), "named secret"))
    return found


def _told(lowered: str) -> Iterator[int]:
    """Where a name that says "secret" has said so."""
    for word in _WORDS:
        at = lowered.find(word)
        while at >= 0:
            yield at + len(word)
            at = lowered.find(word, at + 1)
    at = lowered.find("key")
    while at >= 0:
        if lowered[max(0, at - 12) : at].rstrip("_- ").endswith(_KEYS):
            yield at + 3
        at = lowered.find("key", at + 1)


def _is_code(value: str) -> bool:
    """Whether an unquoted value is an expression or a word rather than a password."""
    return bool(_CODE.search(value)) or not re.search(r"\d", value)


def _looks_chosen(value: str) -> bool:
    """Whether a quoted value looks like a password: no prose, no plain word, no format string."""
    if " " in value.strip() or "{" in value or value.startswith(("/", "./", "http://", "https://", "%")):
        return False
    kinds = sum(bool(re.search(p, value)) for p in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    return kinds >= 2 and (bool(re.search(r"\d", value)) or (kinds >= 3 and not re.fullmatch(r"[\w.-]+", value)))


def _random(text: str, start: int, end: int) -> list[Secret]:
    """Long quoted or assigned strings too random for prose or code: cases and digits mixed, high entropy."""
    found = []
    for match in _RANDOM.finditer(text, start, end):
        value = match["s"]
        if not (re.search(r"[a-z]", value) and re.search(r"[A-Z]", value)) or _ALPHABET.search(value):
            continue
        if entropy(value) >= 4.3 and len(_DIGIT.findall(value)) >= 3:
            found.append(Secret(*match.span("s"), "random string"))
    return found


def _is_env(path: str) -> bool:
    name = path.rpartition("/")[2]
    is_template = name.endswith((".example", ".sample", ".template", ".dist"))
    return (name == ".env" or name.startswith(".env.") or name.endswith(".env")) and not is_template


def _merged(found: list[Secret]) -> tuple[Secret, ...]:
    merged: list[Secret] = []
    for secret in sorted(found):
        if merged and secret.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Secret(last.start, max(last.end, secret.end), last.kind)
        elif secret.end > secret.start:
            merged.append(secret)
    return tuple(merged)
