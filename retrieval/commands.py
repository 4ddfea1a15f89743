"""A text in, the secrets that commands in it are given as options and arguments out.

Finds commands wherever they stand: in a script, a `RUN` line, a string, a list of a workflow or of a program that
starts a process. Knows of some eighty commands which option takes a secret, and of all others that `--password` does.
Ignores secrets that stand by themselves (`secrets`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

REACH = 1_000  # characters from a command to the first of its options
LONGEST = 4_000  # characters of one command


@dataclass(frozen=True, slots=True)
class _Command:
    """attached: options whose value stands right behind them; separate: whose value is the next word or behind `=`.

    marks: what stands between a user's name and a password in such a value; without one the whole is secret.
    needs: a word that has to come first. places: which words that are no options are secret.
    """

    attached: tuple[str, ...] = ()
    separate: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    needs: str = ""
    places: tuple[int, ...] = ()


# command names | options with the value attached | options with the value behind them (with a mark: `-u:`) | needs
_TABLE = """
curl | -u: -U: | -u: --user: -U: --proxy-user: --pass --proxy-pass --oauth2-bearer --tlspassword |
wget wget2 aria2c | | --password --http-password --ftp-password --proxy-password --http-passwd --ftp-passwd |
http https xh xhs | | -a: --auth: |
mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlpump mysqlbinlog mysqlslap mysqlsh | -p | --password |
mariadb mariadb-dump mariadb-admin mariadb-import mariadb-check mydumper myloader | -p | --password |
sshpass | -p | -p |
docker podman nerdctl buildah helm oras crane regctl | -p | -p --password | login
skopeo | -p | -p --password --creds: --src-creds: --dest-creds: |
redis-cli valkey-cli keydb-cli redis-benchmark | | -a --pass |
redis-server valkey-server | | --requirepass --masterauth |
mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop | | -p --password |
ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldapcompare ldapmodrdn | -w | -w |
ldappasswd | -w -s -a | -w -s -a |
sqlcmd bcp osql isql tsql | -P | -P |
clickhouse clickhouse-client cqlsh nodetool cypher-shell arangosh influx mclient | | -p -pw --password --token |
smbclient rpcclient net smbget | -U% | -U% --user% |
lftp | -u, | -u, |
zip unzip zipcloak | -P | -P |
7z 7za 7zr 7zz rar unrar | -p -hp | |
openssl | | -passin/ -passout/ -pass/ -k |
keytool jarsigner | | -storepass -keypass -srcstorepass -deststorepass -srckeypass -destkeypass -new |
gpg gpg2 | | --passphrase |
ssh-keygen | | -N -P |
rabbitmqadmin twine svn az oc argocd gcloud ncftpget psexec | -p | -p --password --token --client-secret --account-key |
rabbitmqctl | | --password | add_user 2
rabbitmqctl | | --password | change_password 2
vault | | -token token | login 1
cargo | | --token | login 1
rclone | | | obscure 1
nuget dotnet | | -k -ApiKey --api-key -apikey |
kubectl | | --docker-password --token --password --from-literal= |
doctl flyctl fly vercel netlify railway wrangler | | -t --access-token --token --auth --auth-token |
cmdkey | /pass: | |
signtool | | /p |
security | | -p | unlock-keychain
xcrun | | -p --password |
cryptsetup nmcli | | password |
snowsql impala-shell trino beeline | | -p --password |
mosquitto_pub mosquitto_sub | | -P --pw |
ipmitool | -P | -P |
snmpwalk snmpget snmpset | -A -X | -A -X |
xfreerdp | /p: | |
plink pscp psftp | | -pw |
"""
_NAMED = re.compile(
    r"(?<![\w-])--?(?:[A-Za-z][\w-]*?)?(?:password|passwd|passphrase|token|secret|(?:api|secret|access|account)-?key)"
    r"(?:=|[ \t]+(?:\\\r?\n[ \t]*)?|\"[ \t]*,\s*(?=\")|'[ \t]*,\s*(?=')|[\"']?\s*\n[ \t]*- )",
    re.IGNORECASE,
)
_EXPRESSION = re.compile(r"^(?:[-/]|\./|http)|[\s(){}=]")
_WORD = re.compile(
    r"(?:--?[\w-]+(?:=|(?=[\"']))|/\w+:(?=[\"']))?"
    r"(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|(?:\\[^\n]|,(?=[^\s\"'\]])|[^\s\"',;|&()\[\]\\`])+)"
)
_GAP = re.compile(r"(?:[ \t]|\\\r?\n|\^\r?\n|`\r?\n|\r?\n[ \t]*- )*")
_NEXT = re.compile(r"[\"']\s*,\s*(?P<quote>[\"'])(?P<word>(?:(?!(?P=quote))[^\n])*)(?=(?P=quote))")
_SEPARATED = r"(?:[\"']?[ \t]*(?:,|\\?\r?\n[ \t]*(?:- )?|[ \t])[ \t]*[\"']?)+"
_HOLLOW = re.compile(r"[$<{%@*]|[x.•*]+$|-?$|env:|file:|(?:your|my|the)[-_]|(?i:password|passwd|secret|token)$")
# Settings of one command's environment, and the few ways to say a secret that are no options
_LINES = re.compile(
    r"\b(?:PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|SSHPASS|LDAPTLS_KEYPASS|RESTIC_PASSWORD|BORG_PASSPHRASE|GPG_PASSPHRASE"
    r"|VAULT_TOKEN)=[\"']?(?P<env>[^\s\"';|&]+)"
    r"|\becho\s+(?:-\w+\s+)?[\"']?[\w.-]+:(?P<ch>[^\s\"'|]+)[\"']?\s*\|\s*(?:sudo\s+)?chpasswd\b"
    rf"|\bhtpasswd{_SEPARATED}-\w*b\w*(?:{_SEPARATED}[^\s\"',;`]+){{2}}{_SEPARATED}(?P<ht>[^\s\"',;|&`]+)"
    r"|\bsqlplus\s+(?:-\S+\s+)*[\"']?[\w.-]+/(?P<ora>[^\s\"'@/]+)@"
    r"|\bset\s+aws_secret_access_key\s+(?P<aws>\S+)"
    r"|\bConvertTo-SecureString\s+(?:-String\s+)?[\"'](?P<ps>[^\"'\n]+)[\"']"
)
_PLAIN = ("login", "obscure", "add_user", "change_password", " password ", " /p", ",password,")  # words that tell
_OPTION = re.compile(r"-(?<=[ \"']-)-?[A-Za-z](?:[A-Za-z]{2}|\S*(?:[\s\"']|$))")  # its dash first: quick to find
_CUES = ("echo ", "htpasswd", "sqlplus", "aws_secret", "ConvertTo-Secure", "PASS", "PWD=", "_AUTH=", "VAULT_TOKEN")


def _options(words: str) -> tuple[tuple[str, str], ...]:
    """Options with the mark that divides their values, "" for none."""
    found = []
    for word in words.split():
        has_mark = word[-1] in ":%,/=" and not word.startswith("/")
        found.append((word[:-1], word[-1]) if has_mark else (word, ""))
    return tuple(found)


@cache
def _commands() -> dict[str, tuple[_Command, ...]]:
    table: dict[str, tuple[_Command, ...]] = {}
    for row in filter(None, _TABLE.split("\n")):
        names, attached, separate, needs = (cell.strip() for cell in row.split("|"))
        one, two = _options(attached), _options(separate)
        word, _, place = needs.partition(" ")
        made = _Command(
            tuple(option for option, _ in one),
            tuple(option for option, _ in two),
            tuple((option, mark) for option, mark in (*one, *two) if mark),
            word,
            (int(place),) if place else (),
        )
        for name in names.split():
            table[name] = (*table.get(name, ()), made)
    return table


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where one of these commands stands, the longest name first."""
    listed = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(rf"\b(?P<name>{listed})(?:\.exe)?(?=[\"']?,?[\s\"'])")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """From where to where a secret stands in a text, in no order."""
    if any(cue in text for cue in _CUES):
        for match in _LINES.finditer(text):
            if match.lastgroup and not _HOLLOW.match(match[match.lastgroup]):
                yield match.span(match.lastgroup)
    for start, end in _stretches(text):
        names = tuple(name for name in _commands() if text.find(name, start, end) >= 0)
        for match in _pattern(names).finditer(text, start, end) if names else ():
            words = list(_words(text, match.end()))
            for command in _commands()[match["name"]]:
                yield from _of(command, words)
        yield from _by_name(text, start, end)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Where in a text an option stands or another word that tells, with what may be its command before it."""
    begin = end = -1
    for first, last in _telling(text):
        if begin >= 0 and first - REACH > end:
            yield begin, end
            begin = -1
        if begin < 0:
            begin = max(0, end, text.rfind("\n", 0, max(0, first - REACH)) + 1)
        end = max(end, last)
    if begin >= 0:
        yield begin, end


def _telling(text: str) -> list[tuple[int, int]]:
    """Where options and words stand that may tell of a secret, in order."""
    found = [match.span() for match in _OPTION.finditer(text)]
    options = len(found)
    for word in _PLAIN:
        at = text.find(word)
        while at >= 0:
            found.append((at, at + len(word)))
            at = text.find(word, at + 1)
    return sorted(found) if len(found) > options else found


def _words(text: str, at: int) -> Iterator[tuple[int, str]]:
    """The words behind a command, and where each begins: of a list when the command's own quotes end behind it."""
    end = min(len(text), at + LONGEST)
    if text[at : at + 1] in ("'", '"') and (found := _NEXT.match(text, at, end)) is not None:
        while found is not None:
            yield found.start("word"), found["word"]
            found = _NEXT.match(text, found.end("word"), end)
        return
    while at < end:
        gap = _GAP.match(text, at, end)
        start = at if gap is None else gap.end()
        found = _WORD.match(text, start, end)
        if found is None or start == at:
            return
        quoted = found[0][:1] in ("'", '"') and len(found[0]) > 1
        yield start + quoted, found[0][1:-1] if quoted else found[0]
        at = found.end()


def _of(command: _Command, words: list[tuple[int, str]]) -> Iterator[tuple[int, int]]:
    marks = dict(command.marks)
    awaited: str | None = None
    plain = 0
    is_met = not command.needs
    for start, word in words:
        if awaited is not None and not (word.startswith("-") and len(word) > 1 and word[1:2] != ":"):
            yield from _value(start, word, marks.get(awaited, ""))
            awaited = None
            continue
        awaited = None
        name, equals, value = word.partition("=")
        if not word.startswith(("-", "/")) and word not in command.separate:
            if is_met and equals and name in command.separate:
                yield from _value(start + len(name) + 1, value, "")
            elif word == command.needs:
                is_met, plain = True, 0
            else:
                plain += 1
                if is_met and plain in command.places:
                    yield from _value(start, word, "")
            continue
        if not is_met:
            continue
        if name in command.separate:
            if equals:
                yield from _value(start + len(name) + 1, value, marks.get(name, ""))
            else:
                awaited = name
            continue
        awaited = _bundled(word, command)
        for option in sorted(command.attached, key=len, reverse=True):
            if word.startswith(option) and len(word) > len(option) and not word.startswith("--"):
                yield from _value(start + len(option), word[len(option) :], marks.get(option, ""))
                awaited = None
                break


def _bundled(word: str, command: _Command) -> str | None:
    """The option with a value at the end of several short ones: `-sSu`."""
    if re.fullmatch(r"-[A-Za-z]{2,6}", word) and "-" + word[-1] in command.separate:
        short = "-" + word[-1]
        return short if dict(command.marks).get(short) == ":" else None
    return None


def _value(start: int, value: str, mark: str) -> Iterator[tuple[int, int]]:
    """The secret in an option's value, without quotes, and without the name before a mark."""
    quote = value[:1] if value[:1] in ("'", '"') else ""
    if quote:
        start, value = start + 1, value[1:].removesuffix(quote)
    if mark == "/":  # OpenSSL's: pass:…, or a place where it stands
        if not value.startswith("pass:"):
            return
        mark = ":"
    if mark:
        name, found, rest = value.partition(mark)
        if not found:
            return
        start, value = start + len(name) + 1, rest
    if value and not _HOLLOW.match(value):
        yield start, start + len(value)


def _by_name(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Values of options that say by their names that they are secret, whichever command has them."""
    for match in _NAMED.finditer(text, start, min(len(text), end + REACH)):
        found = _WORD.match(text, match.end())
        value = "" if found is None else found[0].strip("\"'")
        looks_chosen = len(value) >= 6 and re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
        if found is not None and looks_chosen and not _EXPRESSION.search(value):
            yield from _value(found.start(), found[0], "")
