"""Secrets that commands are given are starred out, in scripts and in everything that starts commands."""

from __future__ import annotations

import json

import pytest

from retrieval import secrets

# A command with the secret in braces
COMMANDS = """
curl -u admin:{swordfish} https://example.org
curl -sSu admin:{swordfish} https://example.org
curl --user 'admin:{sword fish}' https://example.org
curl -uadmin:{swordfish} https://example.org
curl --proxy-user=me:{swordfish} https://example.org
mysql -u root -p{MyP4ssw0rd} shop
mysqldump --single-transaction -p{MyP4ssw0rd} --all-databases
mariadb --password={hunter2} -e 'select 1'
sshpass -p {hunter2} ssh root@host
sshpass -p'{hunter2}' ssh root@host
docker login -u me -p {hunter2} registry.example.org
docker login --username me --password {hunter2}
podman login -u me --password={hunter2} quay.example.org
redis-cli -h cache -a {hunter2} ping
redis-cli --pass {hunter2} ping
psql postgresql://u:{p}@h
psql postgresql://user:{swordfish}@db/shop
mongosh --host db -u root -p {swordfish}
ldapsearch -D cn=admin -w {swordfish} -b dc=x
sqlcmd -S db -U sa -P {Sw0rdfish!}
7z a -p{swordfish} out.7z in
openssl rsa -in k.pem -passin pass:{swordfish}
keytool -list -keystore a.jks -storepass {changeit}
gpg --batch --passphrase {swordfish} -d a.gpg
rabbitmqctl add_user shop {swordfish}
skopeo copy --src-creds=me:{swordfish} docker://a docker://b
smbclient //host/share -U me%{swordfish}
lftp -u me,{swordfish} sftp://host
htpasswd -bc file me {swordfish}
PGPASSWORD={swordfish} psql -h db
echo 'root:{swordfish}' | chpasswd
az login --service-principal -u id -p {swordfish} --tenant t
kubectl create secret docker-registry r --docker-username=me --docker-password={swordfish}
twine upload -u me -p {swordfish} dist/a.whl
cargo login {swordfish}
mosquitto_pub -h broker -u me -P {swordfish} -t topic
deploy --api-key {sw0rdfish99}
tool --client-secret={sw0rdfish99} run
""".strip().split("\n")

# What does not hide a secret
PLAIN = """
curl -u $USER:$PASSWORD https://example.org
curl -u admin: https://example.org
mysql -u root -p shop
docker run -p 8080:80 image
docker login --password-stdin registry.example.org
sshpass -p "$PASSWORD" ssh root@host
mkdir -p build/lib
redis-cli -a "${REDIS_PASSWORD}" ping
git push -u origin main
ssh -p 2222 root@host
parser.add_argument("--token", default=None, help="the token of the server")
parser.add_argument("--password", "-p", type=str)
curl -X POST --data-urlencode user=me https://example.org/login
cp -p one two
openssl rsa -in k.pem -passin env:KEY_PASS
docker compose -p project up
""".strip().split("\n")


def masked(text: str) -> str:
    found = secrets.mask(text)
    assert len(found) == len(text)
    return found


def parts(command: str) -> tuple[str, str]:
    """The command as it is written, and its secret."""
    secret = command[command.index("{") + 1 : command.index("}")]
    return command.replace("{", "").replace("}", ""), secret


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "form",
    ["{}\n", "RUN {} && true\n", "steps:\n  - run: {}\n  - run: make\n", "    script:\n      - {}\n", 'system("{}")\n',
     "x = `{}`\n", "#!/bin/sh\nset -e\nif true; then {}; fi\n", "cmd.exe /c {}\r\n"],
)  # fmt: skip
def test_an_options_secret_is_starred_out(command: str, form: str) -> None:
    written, secret = parts(command)
    text = form.replace("{}", written)
    expected = form.replace("{}", command.replace("{" + secret + "}", "*" * len(secret)))
    expected = "".join(star if star == "*" else was for star, was in zip(expected, text, strict=True))
    got = masked(text)
    assert [at for at, one in enumerate(expected) if one == "*" and one not in text[at].replace(" ", "*")] == [
        at for at, (one, was) in enumerate(zip(got, text, strict=True)) if one == "*" and was not in "* "
    ]


@pytest.mark.parametrize("command", [one for one in COMMANDS if "'" not in one and "=" not in one.split()[0]])
@pytest.mark.parametrize("form", ["json", "python", "yaml", "lines"])
def test_so_it_is_in_a_list_of_words(command: str, form: str) -> None:
    written, secret = parts(command)
    words = written.split()
    text = {
        "json": f"CMD {json.dumps(words)}\n",
        "python": f"subprocess.run({words!r}, check=True)\n",
        "yaml": "command:\n" + "".join(f"  - {word}\n" for word in words) + "image: shop\n",
        "lines": " \\\n    ".join(words) + "\nmake\n",
    }[form]
    got = masked(text)
    at = text.rindex(secret) if len(secret) > 1 else text.index(":" + secret + "@") + 1
    assert set(got[at : at + len(secret)]) == {"*"}
    assert got[:at] + got[at + len(secret) :] == text[:at] + text[at + len(secret) :]


@pytest.mark.parametrize("command", PLAIN)
def test_what_is_no_secret_stays(command: str) -> None:
    assert masked(command + "\n") == command + "\n"
