// SPDX-License-Identifier: Apache-2.0
// An echo server on node's dgram: node echo.js ADDRESS PORT
const [address, port] = process.argv.slice(2);
const socket = require("dgram").createSocket(address.includes(":") ? "udp6" : "udp4");

socket.on("message", (data, sender) => socket.send(data, sender.port, sender.address));
socket.on("error", (error) => console.log("error:", error));
socket.bind(Number(port), address);
