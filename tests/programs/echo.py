#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An asyncio echo server: echo.py ADDRESS PORT"""
import asyncio
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        self.transport.sendto(data, sender)

    def error_received(self, error):
        print("error:", error, flush=True)


async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(sys.argv[1], int(sys.argv[2])))
    await asyncio.Event().wait()


asyncio.run(main())
