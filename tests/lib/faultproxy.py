# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy between the uploader and a blob server that makes faults by rule.

    with FaultProxy(server.port) as proxy:
        proxy.add(do="status", match="^PUT .*comp=block&", times=3, status=503, headers={"Retry-After": "1"})
        ... requests to proxy.port ...
        proxy.hits, proxy.seen, proxy.seen_at, proxy.heads (whole heads of requests)

With proxy.echo = True, refusals name the request's x-ms-client-request-id too, as the service's do and the
emulator's do not.

A rule fits when `match` is found in "METHOD target", is passed over `skip` times, then acts `times` times:

    reset      the connection ends before the request goes on
    lose       the server gets the request; the connection ends instead of its answer
    stall      nothing is answered for `seconds`, then the connection ends
    truncate   the answer's head is whole, half of its body is missing
    status     `status` with `code` and `headers`, without asking the server
    flip       a bit of the request's body flips on its way
    twice      the server gets the request twice; its second answer goes back
    header     the answer comes with other `headers`
    delay      the server gets the request after `seconds`
    call       `call()` runs first, then the server gets the request
    spoil      a bit of the answer's body flips on its way
    again      the server gets the request now, and once more after `seconds`, when others have followed
    repeat     the answer comes twice on its connection, the second time after `seconds`
Each is a fault of the network or an answer the service documents and the emulator cannot give.
"""
import asyncio
import re
import threading
import time

HEAD_MAX = 1 << 16
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 412: "Precondition Failed",
           413: "Content Too Large", 500: "Internal Server Error", 503: "Service Unavailable"}


class Rule:
    def __init__(self, do, match="", times=1, skip=0, status=500, code="", headers=None, seconds=1.0, call=None):
        self.do, self.pattern, self.times, self.skip = do, re.compile(match), times, skip
        self.status, self.code, self.headers, self.seconds = status, code, headers or {}, seconds
        self.call = call

    def fits(self, line: str) -> bool:
        if self.times == 0 or not self.pattern.search(line):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FaultProxy:
    def __init__(self, upstream_port: int, server_tls=None, client_tls=None):
        """With TLS contexts it ends the clients' TLS and begins its own."""
        self.upstream_port, self.server_tls, self.client_tls = upstream_port, server_tls, client_tls
        self.rules, self.seen, self.seen_at, self.heads, self.echo = [], [], [], [], False
        self.hits, self.hit_at = {}, []  # how often each fault was made; which of `seen` a rule fitted
        self.tasks = set()  # the loop itself holds them weakly
        self.ready = threading.Event()

    def add(self, do: str, **rule) -> None:
        self.rules.append(Rule(do, **rule))

    def __enter__(self) -> "FaultProxy":
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self.thread.start()
        self.ready.wait()
        return self

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()

    async def _main(self) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_MAX, ssl=self.server_tls)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()
        server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        upstream = None
        task = asyncio.current_task()
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            upstream = await self._connect()
            while await self._one(reader, writer, *upstream):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            if upstream:
                upstream[1].transport.abort()

    async def _connect(self):
        return await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=HEAD_MAX, ssl=self.client_tls)

    async def _again(self, request: bytes, no_body: bool, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            reader, writer = await self._connect()
            writer.write(request)
            await writer.drain()
            await read_answer(reader, no_body)
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass  # nobody waits for it

    async def _repeat(self, writer, answer: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not writer.is_closing():
            writer.write(answer)

    async def _one(self, reader, writer, up_reader, up_writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode("latin-1").rsplit(" ", 1)[0]
        body = await reader.readexactly(length_of(head))
        self.heads.append(head.decode("latin-1"))
        self.seen.append(line)
        self.seen_at.append(time.monotonic())
        rule = next((r for r in self.rules if r.fits(line)), None)
        do = rule.do if rule else ""
        if rule:
            self.hits[do] = self.hits.get(do, 0) + 1
            self.hit_at.append(len(self.seen) - 1)
        if do == "reset":
            return False
        if do == "delay":
            await asyncio.sleep(rule.seconds)
        if do == "call":
            await self.loop.run_in_executor(None, rule.call)
        if do == "again":
            task = asyncio.ensure_future(self._again(head + body, line.startswith("HEAD "), rule.seconds))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if do == "stall":
            await asyncio.sleep(rule.seconds)
            return False
        if do == "status":
            writer.write(status_answer(rule, line.startswith("HEAD ")))
            await writer.drain()
            return True
        if do == "flip" and body:
            body = flipped(body)
        no_body = line.startswith("HEAD ")
        for _ in range(2 if do == "twice" else 1):
            up_writer.write(head + body)
            await up_writer.drain()
            answer_head, answer = await read_answer(up_reader, no_body)
        if do == "lose":
            return False
        if do == "truncate":
            cut = len(answer) // 2 if answer else 0
            writer.write((answer_head + answer[:cut]) if answer else answer_head[:len(answer_head) // 2])
            await writer.drain()
            return False
        if do == "spoil" and answer:
            answer = flipped(answer)
        if do == "header":
            answer_head = with_headers(answer_head, rule.headers)
        if self.echo and (asked := re.search(rb"\r\nx-ms-client-request-id: *([^\r]*)", head, re.IGNORECASE)):
            answer_head = with_headers(answer_head, {"x-ms-client-request-id": asked[1].decode()})
        if do == "repeat":
            task = asyncio.ensure_future(self._repeat(writer, answer_head + answer, rule.seconds))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        writer.write(answer_head + answer)
        await writer.drain()
        return True


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def length_of(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
    return int(found.group(1)) if found else 0


def with_headers(head: bytes, headers: dict) -> bytes:
    lines = [line for line in head[:-4].split(b"\r\n")
             if line.split(b":")[0].decode("latin-1").lower() not in {name.lower() for name in headers}]
    lines += [f"{name}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def read_answer(reader, no_body: bool) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if no_body or status in (204, 304):
        return head, b""
    if re.search(rb"\r\ntransfer-encoding: *chunked", head, re.IGNORECASE):
        body = b""
        while True:
            size_line = await reader.readuntil(b"\r\n")
            size = int(size_line.split(b";")[0], 16)
            body += size_line + await reader.readexactly(size + 2)
            if size == 0:
                return head, body
    return head, await reader.readexactly(length_of(head))


def status_answer(rule: Rule, no_body: bool) -> bytes:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{rule.code}</Code><Message>by rule</Message></Error>'
    lines = [f"HTTP/1.1 {rule.status} {REASONS.get(rule.status, 'Error')}", f"Content-Length: {len(body)}",
             "Content-Type: application/xml"]
    if rule.code:
        lines.append(f"x-ms-error-code: {rule.code}")
    lines += [f"{name}: {value}" for name, value in rule.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + ("" if no_body else body)).encode()
