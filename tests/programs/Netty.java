// SPDX-License-Identifier: Apache-2.0
// An echo server on netty: java -cp "/usr/share/java/*" Netty.java ADDRESS PORT
import io.netty.bootstrap.Bootstrap;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.DatagramPacket;
import io.netty.channel.socket.nio.NioDatagramChannel;

public class Netty {
    static class Echo extends SimpleChannelInboundHandler<DatagramPacket> {
        @Override
        protected void channelRead0(ChannelHandlerContext context, DatagramPacket packet) {
            context.writeAndFlush(new DatagramPacket(packet.content().retain(), packet.sender()));
        }
    }

    public static void main(String[] arguments) throws Exception {
        Bootstrap bootstrap = new Bootstrap().group(new NioEventLoopGroup(2)).channel(NioDatagramChannel.class).handler(new Echo());

        bootstrap.bind(arguments[0], Integer.parseInt(arguments[1])).sync().channel().closeFuture().await();
    }
}
