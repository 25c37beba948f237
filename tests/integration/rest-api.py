#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job service over TLS: versions of TLS, tokens, rights, rates, every operation and its faults, and what is
left in the store's files and in the log.
"""
import http.client
import pathlib
import ssl
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from azurite import free_port, make_certificates  # noqa: E402
from service import GROUP, JOBS, SUBSCRIPTION, Service, account_id, job  # noqa: E402

KEY = "122221-244442-366663-488884-611105-013574-660000-720885"
PACKAGE = {"carrierName": "CarrierX", "trackingNumber": "TRK-0001", "driveCount": 1, "shipDate": "2031-04-12"}
JOURNAL = ("[BeginUpdateRecord][2031/04/09 07:58:44.900][Type:ActivityRecord]\r\nActivityId: DriveInfo\r\n"
           "DriveState: [BeginValue]\r\n<Drive><DriveId>{}</DriveId><BitLockerKey>{}</BitLockerKey>"
           "<ManifestFile>\\DriveManifest.xml</ManifestFile><ManifestHash>" + "A" * 32 + "</ManifestHash></Drive>\r\n"
           "[EndValue]\r\n[EndUpdateRecord]\r\n")
PERSONAL = ("Sample Way", "ops@example.org", "000111222", "TRK-0001")


def expect(answer, status: int, code: "str | None" = None, target: "str | None" = None):
    got = answer.json["error"] if answer.status >= 400 else {}
    assert answer.status == status and (code is None or got["code"] == code) and \
        (target is None or got.get("target") == target), f"{answer.status} {answer.text}, not {status} {code} {target}"
    return answer


def check_tls(service) -> None:
    """1.2 and 1.3 are spoken, and nothing older, even by a client that would."""
    for version, works in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        run = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{service.port}", version, "-CAfile",
                              service.ca, "-verify_return_error", "-cipher", "DEFAULT:@SECLEVEL=0"],
                             input="", capture_output=True, text=True, timeout=60)
        spoke = "Verify return code: 0 (ok)" in run.stdout and "Cipher is (NONE)" not in run.stdout
        assert spoke == works, (version, run.stdout, run.stderr)
    with __import__("socket").create_connection(("127.0.0.1", service.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(30)
        assert b"HTTP" not in plain.recv(4096), "plain HTTP was answered"


def check_rights(service) -> None:
    unknown = [service.ask("GET", path, right=None) for path in (JOBS, "/", "/v1/bays", JOBS + "/nothing")]
    for answer in unknown:
        expect(answer, 401, "AuthenticationFailed")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.text == unknown[0].text, "401 tells something"
    expect(service.ask("GET", JOBS, headers={"Authorization": "Bearer nobody's"}), 401)
    expect(service.ask("GET", JOBS, headers={"Authorization": "Basic " + service.tokens["admin"]}), 401)
    # A large body is not waited for, nor kept, when who sends it may change nothing: the headers are answered.
    large = {"Content-Length": str(1 << 20)}
    expect(service.ask("PUT", JOBS + "/x", b"", right=None, headers=large), 401, "AuthenticationFailed")
    expect(service.ask("PUT", JOBS + "/x", b"", right="read", headers=large), 403, "AuthorizationFailed")
    there = service.ask("PUT", JOBS + "/there", job(), right="read")
    assert expect(there, 403, "AuthorizationFailed").text == service.ask("DELETE", JOBS + "/x", right="read").text
    expect(service.ask("POST", JOBS + "/x/listBitLockerKeys", right="operate"), 403)
    expect(service.ask("GET", JOBS, right="station"), 403)
    assert service.ask("GET", "/v1/jobs", right="station", version=None).status == 403
    expect(service.ask("GET", JOBS, right="read"), 200)
    assert service.ask("GET", "/v1/jobs", right="read", version=None).json["jobs"] == []
    assert service.ask("POST", "/v1/reload", right="operate", version=None).status == 403
    service.write_tokens({"read": service.tokens["admin"]})
    service.reload()
    expect(service.ask("DELETE", JOBS + "/x"), 403)
    service.write_tokens()
    service.reload()
    expect(service.ask("DELETE", JOBS + "/x"), 404)
    # A new one is shown once, and counts when the tokens were read again.
    made = subprocess.run([service.program, "--config", service.folder / "berthd.conf", "--new-token", "read:portal"],
                          capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    service.tokens["portal"] = made
    assert made not in (service.folder / "tokens").read_text()
    expect(service.ask("GET", JOBS, right="portal"), 401)
    service.reload()
    expect(service.ask("GET", JOBS, right="portal"), 200)
    expect(service.ask("PUT", JOBS + "/x", job(), right="portal"), 403)


def check_addresses(service) -> None:
    expect(service.ask("GET", JOBS, version=None), 400, "MissingApiVersionParameter")
    expect(service.ask("GET", JOBS, version="2019-01-01"), 400, "InvalidApiVersionParameter")
    expect(service.ask("GET", "/subscriptions/x/providers/Microsoft.Compute/jobs"), 404, "ResourceNotFound")
    expect(service.ask("GET", JOBS + "/a/b"), 404, "ResourceNotFound")
    expect(service.ask("GET", f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ImportExport/jobs/a"), 404)
    assert expect(service.ask("POST", JOBS, {}), 405, "MethodNotAllowed").headers["Allow"] == "GET"
    expect(service.ask("GET", JOBS + "/%zz"), 400, "InvalidRequestUri")
    expect(service.ask("GET", JOBS + "?$top=0"), 400, "InvalidQueryParameterValue", "$top")
    expect(service.ask("GET", JOBS + "?$top=101"), 400, "InvalidQueryParameterValue", "$top")
    expect(service.ask("GET", JOBS + "?$filter=name%20eq%20'x'"), 400, "InvalidFilterInQueryString")
    for version in ("2016-11-01", "2020-08-01", "2021-01-01"):
        names = [o["name"] for o in service.ask("GET", "/providers/Microsoft.ImportExport/operations",
                                                version=version).json["value"]]
        assert "Microsoft.ImportExport/jobs/listBitLockerKeys/action" in names
    locations = service.ask("GET", "/providers/Microsoft.ImportExport/locations").json["value"]
    assert [l["name"] for l in locations] == ["West US", "North Europe"]
    west = service.ask("GET", "/providers/Microsoft.ImportExport/locations/West%20US").json
    assert west == service.ask("GET", "/PROVIDERS/microsoft.importexport/locations/westus").json == locations[0]
    assert west["id"] == "/providers/Microsoft.ImportExport/locations/westus"
    assert west["properties"]["supportedCarriers"] == ["CarrierX", "CarrierY"]
    assert west["properties"]["alternateLocations"] == [west["id"]]
    assert locations[1]["properties"]["alternateLocations"] == [west["id"]], "a closed location"
    expect(service.ask("GET", "/providers/Microsoft.ImportExport/locations/mars"), 404, "ResourceNotFound")


def check_bodies(service) -> None:
    path = JOBS + "/bad"

    def refuse(code, target, body):
        expect(service.ask("PUT", path, body), 400, code, target)

    refuse("InvalidRequestContent", None, b"{")
    refuse("InvalidRequestContent", None, b"[]")
    refuse("InvalidRequestContent", "location", {k: v for k, v in job().items() if k != "location"})
    refuse("InvalidRequestContent", "properties", {"location": "westus"})
    refuse("InvalidRequestContent", "properties.jobType", job(jobType="Both"))
    refuse("JobTypeNotSupported", "properties.jobType", job(jobType="Export"))
    refuse("InvalidRequestContent", "properties.returnAddress", job(returnAddress=None))
    refuse("InvalidRequestContent", "properties.returnAddress.email", job(returnAddress={
        k: v for k, v in job()["properties"]["returnAddress"].items() if k != "email"}))
    refuse("InvalidRequestContent", "properties.driveList", job(driveList=[]))
    refuse("InvalidRequestContent", "properties.driveList", job(serials=[f"S{n}" for n in range(11)]))
    refuse("InvalidRequestContent", None, job(serials=["S1", "s 1"]))
    refuse("InvalidRequestContent", None, job(serials=["0000000"]))
    refuse("InvalidRequestContent", "properties.driveList[0].manifestHash",
           job(driveList=[{"driveId": "S1", "bitLockerKey": KEY, "manifestFile": "\\m"}]))
    refuse("InvalidRequestContent", "properties.driveList",
           job(driveList=[{"driveId": "S1", "manifestFile": "\\m", "manifestHash": "0" * 32}]))
    refuse("InvalidRequestContent", "properties.unheardOf", job(unheardOf=1))
    refuse("InvalidRequestContent", "properties.storageAccountId", job(storageAccountId="acctattic"))
    refuse("StorageAccountNotFound", "properties.storageAccountId", job("acctother"))
    refuse("LocationNotAvailableForResourceType", "location", job(location="Mars"))
    refuse("CustomerManagedKeyNotSupported", "properties.encryptionKey.kekType",
           job(encryptionKey={"kekType": "CustomerManaged"}))
    refuse("InvalidRequestContent", "tags", job() | {"tags": {str(n): "" for n in range(51)}})
    expect(service.ask("PUT", JOBS + "/a%20b", job()), 400, "InvalidRequestContent")
    expect(service.ask("PUT", path, b"{}", headers={"Content-Type": "text/plain"}), 415, "UnsupportedMediaType")
    expect(service.ask("PUT", path, b" " * (2 << 20)), 413, "RequestContentTooLarge")
    # One that announces much too much is not waited for.
    expect(service.ask("PUT", path, b"", headers={"Content-Length": str(20 << 20)}), 413, "RequestContentTooLarge")
    expect(service.ask("GET", path), 404, "ResourceNotFound")


def check_life(service) -> None:
    path, sent = JOBS + "/MyIEjob1", job() | {"tags": {"who": "attic"}}
    made = expect(service.ask("PUT", path, sent), 201)
    got = expect(service.ask("GET", path), 200)
    assert made.json == got.json and made.headers["ETag"] == got.headers["ETag"]
    assert KEY not in made.text and "bitLockerKey" not in made.text
    j, p = got.json, got.json["properties"]
    assert j["id"] == path and j["name"] == "MyIEjob1" and j["type"] == "Microsoft.ImportExport/jobs"
    assert j["location"] == "West US" and j["tags"] == {"who": "attic"} and j["identity"] == {"type": "None"}
    assert j["systemData"]["createdBy"] == "token adminer" and j["systemData"]["createdAt"]
    for name in ("storageAccountId", "jobType", "returnAddress", "returnShipping", "diagnosticsPath", "logLevel",
                 "backupDriveManifest"):
        assert p[name] == sent["properties"][name], name
    assert (p["state"], p["cancelRequested"], p["percentComplete"]) == ("Creating", False, 0)
    assert p["provisioningState"] == "Succeeded" and p["encryptionKey"] == {"kekType": "MicrosoftManaged"}
    assert p["shippingInformation"]["streetAddress1"] == "1 Dock Street"
    assert p["shippingInformation"]["additionalInformation"] == "Ring twice"
    drive = p["driveList"][0]
    assert drive["state"] == "Specified" and drive["driveHeaderHash"] == "" and "copyStatus" not in drive
    assert drive["manifestFile"] == "\\DriveManifest.xml"
    # Resources are named without case, and each version has its own members.
    assert service.ask("GET", path.upper().replace("MYIEJOB1", "myiejob1")).json["id"] == path
    old = service.ask("GET", path, version="2016-11-01").json
    assert "identity" not in old and "encryptionKey" not in old["properties"] and "systemData" in old
    assert "systemData" not in service.ask("GET", path, version="2020-08-01").json
    # What was read can be written again, and nothing changes but its time.
    again = expect(service.ask("PUT", path, got.json), 200).json
    assert again["properties"] == p and again["systemData"]["createdAt"] == j["systemData"]["createdAt"]
    assert service.ask("POST", path + "/listBitLockerKeys").json == {
        "value": [{"driveId": "QX7TESTDRV01", "bitLockerKey": KEY}]}, "the key stays when it is not sent again"
    check_conditions(service, path, sent)
    check_updates(service, path)
    check_shipping(service, path, sent)


def check_conditions(service, path, sent) -> None:
    etag = service.ask("GET", path).headers["ETag"]
    expect(service.ask("PUT", path, sent, headers={"If-None-Match": "*"}), 412, "PreconditionFailed")
    expect(service.ask("PATCH", path, {}, headers={"If-Match": '"1-1"'}), 412, "PreconditionFailed")
    expect(service.ask("PATCH", path, {"tags": {}}, headers={"If-Match": etag}), 200)
    expect(service.ask("PATCH", path, {"tags": {}}, headers={"If-Match": etag}), 412)
    expect(service.ask("PATCH", path, {}, headers={"If-Match": "*", "If-None-Match": "*"}), 400)
    expect(service.ask("PUT", JOBS + "/new", job(serials=["N1"]), headers={"If-Match": "*"}), 412)


def check_updates(service, path) -> None:
    def patch(**properties):
        return service.ask("PATCH", path, {"properties": properties})

    expect(patch(storageAccountId=account_id("x")), 400, "InvalidRequestContent", "properties.storageAccountId")
    expect(patch(state="Completed"), 400, "InvalidRequestContent", "properties.state")
    expect(patch(cancelRequested=False), 400, "InvalidRequestContent", "properties.cancelRequested")
    expect(patch(state="Shipping"), 409, "OperationNotAllowed", "properties.state")
    expect(patch(state="Shipping", logLevel="Loud"), 400)
    p = expect(patch(state="", logLevel="Error", backupDriveManifest=False), 200).json["properties"]
    assert (p["state"], p["logLevel"], p["backupDriveManifest"]) == ("Creating", "Error", False)
    expect(service.ask("PUT", path, job(location="North Europe")), 409, "InvalidResourceLocation", "location")
    # Other drives, with or without keys.
    two = job(serials=["QX7TESTDRV01", "SECOND2"])["properties"]["driveList"]
    del two[0]["bitLockerKey"]
    p = expect(patch(driveList=two), 200).json["properties"]
    assert [d["driveId"] for d in p["driveList"]] == ["QX7TESTDRV01", "SECOND2"]
    assert [k["bitLockerKey"] for k in service.ask("POST", path + "/listBitLockerKeys").json["value"]] == [KEY, KEY]
    expect(service.ask("PUT", JOBS + "/other", job(serials=["second 2"])), 409, "Conflict")
    # Some shells send two backslashes.
    two[1]["manifestFile"] = "\\\\DriveManifest.xml"
    p = expect(patch(driveList=two), 200).json["properties"]
    assert p["driveList"][1]["manifestFile"] == "\\DriveManifest.xml"


def check_shipping(service, path, sent) -> None:
    before = service.ask("GET", path).json["properties"]
    p = expect(service.ask("PATCH", path, {"properties": {"state": "Shipping", "deliveryPackage": PACKAGE}}), 200)
    assert p.json["properties"]["state"] == "Shipping" and p.json["properties"]["deliveryPackage"] == PACKAGE
    expect(service.ask("PUT", path, sent), 409, "OperationNotAllowed")
    expect(service.ask("PATCH", path, {"properties": {"state": "Shipping"}}), 409, None, "properties.state")
    expect(service.ask("PATCH", path, {"properties": {"driveList": sent["properties"]["driveList"],
                                                      "logLevel": "Verbose"}}), 409, None, "properties.driveList")
    assert service.ask("GET", path).json["properties"]["logLevel"] == before["logLevel"], "a part was done"
    expect(service.ask("DELETE", path), 409, "OperationNotAllowed")
    p = expect(service.ask("PATCH", path, {"properties": {"cancelRequested": True}}), 200).json["properties"]
    assert p["cancelRequested"] is True and p["state"] == "Shipping"
    expect(service.ask("PATCH", path, {"properties": {"cancelRequested": True}}), 409)
    # A job that is cancelled before it is shipped stays Creating, and can be deleted.
    gone = JOBS + "/gone"
    expect(service.ask("PUT", gone, job(serials=["GONE1"])), 201)
    p = expect(service.ask("PATCH", gone, {"properties": {"cancelRequested": True}}), 200).json["properties"]
    assert (p["state"], p["cancelRequested"]) == ("Creating", True)
    answer = expect(service.ask("DELETE", gone), 200)
    assert answer.text == ""
    expect(service.ask("GET", gone), 404)
    expect(service.ask("DELETE", gone), 404)


def check_stream(service) -> None:
    """The events of the local API come through TLS as they happen."""
    connection = http.client.HTTPSConnection("127.0.0.1", service.port, context=service.context, timeout=60)
    connection.request("GET", "/v1/events", headers={
        "Accept": "text/event-stream", "Authorization": f"Bearer {service.tokens['read']}"})
    response = connection.getresponse()
    assert response.status == 200, response.status
    expect(service.ask("PUT", JOBS + "/stream", job(serials=["STREAM1"])), 201)
    line = b""
    while b"jobs/stream" not in line:
        line = response.readline()
        assert line, "the stream ended"
    connection.close()
    expect(service.ask("DELETE", JOBS + "/stream"), 200)


def names(answer) -> "list[str]":
    return [j["name"] for j in answer.json["value"]]


def follow(service, path: str) -> "tuple[list[str], int]":
    found, pages = [], 0
    while path:
        answer = expect(service.ask("GET", path, version=None), 200)
        found += names(answer)
        link = answer.json.get("nextLink", "")
        assert not link or link.startswith(service.base)
        path, pages = link[len(service.base):], pages + 1
    return found, pages


def check_lists(service) -> None:
    made = [f"list-{n}" for n in range(7)]
    other = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-b/providers/Microsoft.ImportExport/jobs"
    for n, name in enumerate(made):
        expect(service.ask("PUT", f"{other}/{name}", job(serials=[f"LIST{n}"])), 201)
    package = {"properties": {"state": "Shipping", "deliveryPackage": PACKAGE | {"trackingNumber": "TRK-7 &'x"}}}
    expect(service.ask("PATCH", f"{other}/list-3", package), 200)
    version = "api-version=2021-01-01"
    assert follow(service, f"{other}?{version}&$top=3") == (made[::-1], 3)
    assert follow(service, f"{other}?{version}") == (made[::-1], 1)
    everything, _ = follow(service, f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ImportExport/jobs?{version}&$top=2")
    assert everything == made[::-1] + ["MyIEjob1"]
    assert names(service.ask("GET", f"/subscriptions/{SUBSCRIPTION}2/providers/Microsoft.ImportExport/jobs")) == []

    def matching(text, top=1):
        return follow(service, f"{other}?{version}&$top={top}&$filter={urllib.parse.quote(text)}")[0]

    assert matching("state eq 'Shipping' and type eq 'Import'") == ["list-3"]
    assert matching("trackingnumber eq 'TRK-7 &''x'") == ["list-3"]
    assert matching("trackingnumber eq 'TRK-8'") == []
    assert matching("state eq 'Creating'") == [n for n in made[::-1] if n != "list-3"]
    assert matching("type eq 'Export'") == []


def check_journals(service) -> None:
    """What a journal says of a drive takes the place of what the job says, while it is Creating."""
    path, verb, key = JOBS + "/list-j", "/v1/jobs/list-j/journals", "111111-" * 7 + "222222"

    def journal(serial: str) -> dict:
        return {"journals": [{"name": "a.jrn", "text": JOURNAL.format(serial, key)}]}

    expect(service.ask("PUT", path, job(serials=["JRN1", "JRN2"])), 201)
    for body, status in ((journal("JRN9"), 404), ({"journals": [{"text": "none"}]}, 400), ({}, 400)):
        assert service.ask("POST", verb, body, version=None).status == status, body
    assert service.ask("POST", verb, journal("JRN2"), right="read", version=None).status == 403
    answer = service.ask("POST", verb, journal("jrn2"), right="operate", version=None)
    assert answer.status == 200 and key not in answer.text, answer.text
    keys = service.ask("POST", path + "/listBitLockerKeys").json["value"]
    assert keys == [{"driveId": "JRN1", "bitLockerKey": KEY}, {"driveId": "JRN2", "bitLockerKey": key}], keys
    drives = service.ask("GET", path).json["properties"]["driveList"]
    assert [d["manifestHash"] for d in drives] == ["0123456789ABCDEF0123456789ABCDEF", "A" * 32], drives
    expect(service.ask("PATCH", path, {"properties": {"state": "Shipping", "deliveryPackage": PACKAGE}}), 200)
    assert service.ask("POST", verb, journal("JRN2"), version=None).status == 409
    expect(service.ask("PATCH", path, {"properties": {"cancelRequested": True}}), 200)


def check_quota(service) -> None:
    expect(service.ask("PUT", f"{GROUP}/providers/Microsoft.ImportExport/jobs/more", job(serials=["MORE1"])), 201)
    expect(service.ask("PUT", f"{GROUP}/providers/Microsoft.ImportExport/jobs/toomany", job(serials=["MORE2"])), 409,
           "QuotaExceeded")


def check_remains(folder, log: str) -> None:
    """After a job was deleted, nothing of whom it was for is left in any file, and no key."""
    with Service(folder / "remains", accounts=accounts(folder)) as service:
        sent = job(returnAddress=job()["properties"]["returnAddress"] | {"recipientName": "Very Personal"})
        expect(service.ask("PUT", JOBS + "/secret", sent), 201)
        expect(service.ask("PATCH", JOBS + "/secret", {"properties": {"deliveryPackage": PACKAGE}}), 200)
        state = folder / "remains/state"
        before = b"".join(f.read_bytes() for f in state.iterdir())
        for text in PERSONAL + ("Very Personal", KEY):
            assert text.encode() in before, f"{text} is not where it is looked for"
        expect(service.ask("POST", JOBS + "/secret/listBitLockerKeys"), 200)
        expect(service.ask("DELETE", JOBS + "/secret"), 200)
        for file in state.iterdir():
            for text in PERSONAL + ("Very Personal", KEY):
                assert text.encode() not in file.read_bytes(), f"{text} is left in {file.name}"
        log += service.log()
    assert "token adminer: jobs/listBitLockerKeys/action of job secret: done" in log
    for text in PERSONAL + (KEY, "token-of-a-test"):
        assert text not in log, f"{text} is in the log"


def check_rate(folder) -> None:
    with Service(folder / "rate", accounts=accounts(folder), api="rate = 1\nburst = 5") as service:
        answers = [service.ask("GET", JOBS) for _ in range(8)]
        assert [a.status for a in answers[:5]] == [200] * 5
        late = expect(answers[-1], 429, "TooManyRequests")
        assert int(late.headers["Retry-After"]) >= 1
    with Service(folder / "rate2", accounts=accounts(folder), api="rate = 1\nburst = 30") as service:
        for _ in range(2):
            expect(service.ask("GET", JOBS, headers={"Authorization": "Bearer guess"}), 401)
        expect(service.ask("GET", JOBS), 429)


class Kept:
    """One connection, over which several requests go."""

    def __init__(self, service):
        self.service = service
        self.http = http.client.HTTPSConnection("127.0.0.1", service.port, context=service.context, timeout=60)
        self.http.connect()
        self.served_with = self.http.sock.getpeercert(binary_form=True)

    def ask(self, path: str, **headers):
        headers["Authorization"] = f"Bearer {self.service.tokens['admin']}"
        self.http.request("GET", path, headers=headers)
        return self.http.getresponse()


def check_reload(folder) -> None:
    """A new certificate, another door, none, and mistakes, while a station runs; nobody is cut off."""
    with Service(folder / "again", accounts=accounts(folder)) as service:
        config, text = folder / "again/berthd.conf", (folder / "again/berthd.conf").read_text()
        kept, stream = Kept(service), Kept(service)
        assert kept.ask("/v1/bays").read()
        events = stream.ask("/v1/events", Accept="text/event-stream")
        assert events.status == 200
        make_certificates(service.folder)
        (service.folder / "server.key").chmod(0o600)
        # Asked for over the server that is replaced by it.
        assert service.ask("POST", "/v1/reload", version=None).status == 200
        service.context = ssl.create_default_context(cafile=service.ca)
        fresh = Kept(service)
        assert fresh.served_with != kept.served_with, "the old certificate is served"
        answer = kept.ask("/v1/bays")
        assert answer.status == 200 and answer.read() and answer.headers["Connection"] == "close"
        assert events.read() is not None, "the stream was cut off"
        # Mistakes change nothing, not even what is right beside them.
        config.write_text(text.replace("name = test", "name = other").replace("server.pem", "nothing.pem"))
        assert service.ask("POST", "/v1/reload", version=None).status == 400
        assert service.ask("GET", "/v1/station", version=None).json["name"] == "test"
        # Another port, then none, then one again.
        before = service.port
        other = free_port()
        config.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{other}"))
        service.port = None
        service.reload()
        assert service.port == other != before
        assert service.ask("GET", "/v1/station", version=None).status == 200
        config.write_text(text[:text.index("[api]")] + text[text.index("[location"):])
        service.reload()
        try:
            service.ask("GET", "/v1/station", version=None)
            raise AssertionError("the door is still open")
        except ConnectionRefusedError:
            pass
        config.write_text(text)
        service.port = None
        service.reload()
        assert service.ask("GET", "/v1/station", version=None).status == 200


def accounts(folder) -> str:
    (folder / "account.key").touch(mode=0o600)
    (folder / "account.key").write_text("c2VjcmV0\n")
    return f"[account acctattic]\nendpoint = https://127.0.0.1:1/acctattic\ncredential = key\n" \
           f"credential_file = {folder}/account.key\n"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="berth-rest-") as name:
        folder = pathlib.Path(name)
        with Service(folder / "service", accounts=accounts(folder), station="max_jobs = 10",
                     api="rate = 1000\nburst = 1000") as service:
            check_tls(service)
            check_rights(service)
            check_addresses(service)
            check_bodies(service)
            check_stream(service)
            check_life(service)
            check_lists(service)
            check_journals(service)
            check_quota(service)
            log = service.log()
        check_remains(folder, log)
        check_reload(folder)
        check_rate(folder)


if __name__ == "__main__":
    main()
