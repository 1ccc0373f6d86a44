// SPDX-License-Identifier: Apache-2.0
// An echo server on DatagramChannel and a Selector: java Echo.java ADDRESS PORT
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        Selector selector = Selector.open();
        DatagramChannel channel = DatagramChannel.open();
        ByteBuffer buffer = ByteBuffer.allocateDirect(2048);

        channel.configureBlocking(false);
        channel.bind(new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1])));
        channel.register(selector, SelectionKey.OP_READ);
        while (true) {
            SocketAddress sender;

            selector.select();
            selector.selectedKeys().clear();
            while ((sender = channel.receive(buffer)) != null) {
                buffer.flip();
                channel.send(buffer, sender);
                buffer.clear();
            }
        }
    }
}
