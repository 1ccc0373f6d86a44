#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""aioquic: quic_client.py ADDRESS PORT COUNT BYTES sends COUNT streams of BYTES to quic_server.py, and prints how many came back."""
import asyncio
import ssl
import sys

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration


async def echoed(connection, data):
    reader, writer = await connection.create_stream()
    writer.write(data)
    writer.write_eof()
    return await reader.read() == data


async def main():
    address, port, count, length = sys.argv[1], *map(int, sys.argv[2:])
    configuration = QuicConfiguration(alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE)
    async with connect(address, port, configuration=configuration) as connection:
        data = bytes(i % 251 for i in range(length))
        results = await asyncio.gather(*(echoed(connection, data) for _ in range(count)))
    print(f"{sum(results)} of {count} streams came back")


asyncio.run(main())
