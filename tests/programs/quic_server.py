#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""aioquic: quic_server.py ADDRESS PORT KEY CERTIFICATE sends back each stream that a client ends."""
import asyncio
import sys

from aioquic.asyncio import serve
from aioquic.quic.configuration import QuicConfiguration


async def answer(reader, writer):
    writer.write(await reader.read())
    writer.write_eof()


async def main():
    address, port, key, certificate = sys.argv[1:]
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    configuration.load_cert_chain(certificate, key)
    await serve(address, int(port), configuration=configuration,
                stream_handler=lambda reader, writer: asyncio.ensure_future(answer(reader, writer)))
    await asyncio.Event().wait()


asyncio.run(main())
