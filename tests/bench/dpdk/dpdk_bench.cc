// SPDX-License-Identifier: Apache-2.0
// The worker on a net_null device against the bare driver, both on the worker's thread, in
// alternating windows of 100 ms.
//
//   dpdk_bench rx64 | rx1400 | tx64 | tx1400 | rx64_own | tx64_own | idle
//       one row as a JSON object; EAL starts once in a process
//
// rx: net_null with copy=1 gives frames; a callback makes valid UDP of them (in both windows); the
// client, on another core, reads the start of each payload and returns the frame. Bare:
// rte_eth_rx_burst and free. tx: the client writes payload and descriptor; the worker builds
// headers and checksums. Bare: mbufs from the pool to rte_eth_tx_burst. idle: CPU time of a worker
// that has nothing to do. _own: what a packet costs the worker in its own code, batches of 32, on
// one core: the client's part runs on the worker's thread, too, and its time is taken out; so is
// the bare driver's.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/unit/dpdk/bed.h"

namespace
{

constexpr int kWindows = 24; // of each kind
constexpr uint64_t kWindowNs = 100000000;
constexpr uint32_t kFlows = 64; // source ports: the look-up shall not only meet one line

std::vector<std::vector<uint8_t>> templates;
uint32_t next_template;
uint16_t frame_len;
std::atomic<uint64_t> bare_done;
std::atomic<bool> stop;

void Pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

// Headers only: the rest is zeros, as net_null copies them, and the checksum is made for that.
uint16_t Fill(uint16_t, uint16_t, rte_mbuf **m, uint16_t n, uint16_t, void *)
{
	for (uint16_t i = 0; i < n; i++) {
		memcpy(rte_pktmbuf_mtod(m[i], void *), templates[next_template++ % kFlows].data(),
		       42);
		m[i]->data_len = frame_len;
		m[i]->pkt_len = frame_len;
	}
	return n;
}

uint32_t BareRx(device_queue *dq)
{
	auto *q = (dpdk_queue *)dq;
	rte_mbuf *m[DEVICE_BURST];
	for (int i = 0; i < 64; i++) {
		uint16_t n = rte_eth_rx_burst(q->port, q->id, m, DEVICE_BURST);
		rte_pktmbuf_free_bulk(m, n);
		bare_done.store(bare_done.load(std::memory_order_relaxed) + n,
				std::memory_order_relaxed);
	}
	return 0;
}

uint32_t BareTx(device_queue *dq)
{
	auto *q = (dpdk_queue *)dq;
	rte_mbuf *m[32];
	for (int i = 0; i < 64; i++) {
		if (rte_pktmbuf_alloc_bulk(q->pool, m, 32))
			return 0;
		for (auto *p : m)
			p->data_len = (uint16_t)(p->pkt_len = frame_len);
		uint16_t n = rte_eth_tx_burst(q->port, q->id, m, 32);
		rte_pktmbuf_free_bulk(m + n, 32 - n);
		bare_done.store(bare_done.load(std::memory_order_relaxed) + n,
				std::memory_order_relaxed);
	}
	return 0;
}

void ReceiveAll(WorkerBed *bed, uint64_t *sum)
{
	uint32_t n = std::min(udplane_ring_avail(&bed->my_rx, 1), 64u);
	for (uint32_t i = 0; i < n; i++) {
		const udplane_rx_desc &d =
			bed->ring->desc[udplane_ring_slot(&bed->my_rx, bed->my_rx.idx + i)];
		*sum += *(const volatile uint8_t *)(bed->frames + (size_t)d.frame * kFrameSize +
						    d.offset);
		bed->ret->frame[udplane_ring_slot(&bed->my_ret, bed->my_ret.idx + i)] = d.frame;
	}
	if (!n)
		return udplane_pause();
	udplane_ring_consume(&bed->my_rx, n);
	udplane_ring_publish(&bed->my_ret, n);
}

void SendAll(WorkerBed *bed, const std::vector<uint8_t> &data, uint32_t dst)
{
	uint32_t n = std::min(udplane_ring_free(&bed->my_tx, 32), 32u);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t slot = udplane_ring_slot(&bed->my_tx, bed->my_tx.idx + i);
		udplane_tx_desc *d = &bed->tx->desc[slot];
		d->sock = kSock;
		d->len = (uint16_t)data.size();
		d->dst_port_be = htons(9);
		d->flags = 0;
		memcpy(d->dst, &dst, 4);
		memcpy(bed->payload.data() + (size_t)slot * kFrameSize, data.data(), data.size());
	}
	if (!n)
		return udplane_pause();
	udplane_ring_publish(&bed->my_tx, n);
	udplane_fence();
	if (!udplane_load32(&bed->zone->awake))
		bed->Bell();
}

WorkerBed *own_bed;
uint64_t own_client_ns, own_sum; // spent in the client's part
std::vector<uint8_t> own_data;

// The client's turn, then up to 32 frames of the driver.
template <bool kRx> uint32_t OwnRx(device_queue *q, device_frame *out, uint32_t)
{
	uint64_t t = clock_now_ns();
	kRx ? ReceiveAll(own_bed, &own_sum) : SendAll(own_bed, own_data, inet_addr("192.0.2.2"));
	__atomic_store_n(&own_client_ns, own_client_ns + clock_now_ns() - t, __ATOMIC_RELAXED);
	return dpdk_queue_ops.rx_burst(q, out, 32);
}

double Median(std::vector<double> v)
{
	std::sort(v.begin(), v.end());
	return v[v.size() / 2];
}

double Window(const std::function<uint64_t()> &count)
{
	uint64_t a = count(), t = clock_now_ns();
	while (clock_now_ns() - t < kWindowNs)
		usleep(5000);
	return (double)(count() - a) * 1000 / (double)(clock_now_ns() - t);
}

void MakeTemplates(WorkerBed *bed, uint16_t len)
{
	for (uint32_t i = 0; i < kFlows; i++) {
		auto f = UdpFrame(bed->dev->mac, 5000, std::string(len - 42u, '\0'));
		uint16_t port = htons((uint16_t)(1000 + i)),
			 sum; // the checksum moves the other way
		memcpy(&sum, &f[40], 2);
		sum = htons((uint16_t)(ntohs(sum) - i));
		memcpy(&f[34], &port, 2);
		memcpy(&f[40], &sum, 2);
		templates.push_back(f);
	}
}

int Compare(const char *name, bool rx, uint16_t len)
{
	const bool two = std::thread::hardware_concurrency() > 1;
	frame_len = len;
	gate.cpu = two ? 0 : -1;
	gate.spin_ns = 60000000000ull;
	gate.closed = rx ? BareRx : BareTx;
	std::string vdev = "net_null0,size=" + std::to_string(len) +
			   (rx ? ",copy=1" : ",no-rx=1"); // it does not do both
	WorkerBed bed(vdev);
	if (!bed.dev) {
		fprintf(stderr, "dpdk_bench: %s\n", bed.error.text);
		return 1;
	}
	MakeTemplates(&bed, len);
	if (rx)
		rte_eth_add_rx_callback(bed.d()->port, 0, Fill, nullptr);
	std::thread client([&] {
		if (two)
			Pin(1);
		uint64_t sum = 0;
		std::vector<uint8_t> data(len - 42u, 'x');
		uint32_t dst = inet_addr("192.0.2.2");
		while (!stop)
			rx ? ReceiveAll(&bed, &sum) : SendAll(&bed, data, dst);
	});
	std::vector<double> ours, bare;
	auto mine = [&] {
		return rx ? bed.Count(UDPLANE_WORKER_RX_DELIVERED)
			  : bed.Count(UDPLANE_WORKER_TX_SENT);
	};
	for (int i = 0; i < kWindows; i++) {
		__atomic_store_n(&gate.open, true, __ATOMIC_RELEASE);
		usleep(2000);
		ours.push_back(Window(mine));
		__atomic_store_n(&gate.open, false, __ATOMIC_RELEASE);
		usleep(2000);
		bare.push_back(Window([] { return bare_done.load(); }));
	}
	stop = true;
	client.join();
	__atomic_store_n(&gate.open, true, __ATOMIC_RELEASE);
	uint64_t wrong = bed.Count(UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM) +
			 bed.Count(UDPLANE_WORKER_RX_DROP_IP_CHECKSUM);
	bed.Stop();
	if (wrong)
		fprintf(stderr, "dpdk_bench: %lu frames of its own were found damaged\n",
			(unsigned long)wrong);
	double v = Median(ours), b = Median(bare);
	printf("{\"name\": \"%s\", \"value\": %.2f, \"unit\": \"Mpps\", \"baseline\": %.2f, "
	       "\"ratio\": %.3f, \"min\": %.2f, \"max\": %.2f}\n",
	       name, v, b, v / b, *std::min_element(ours.begin(), ours.end()),
	       *std::max_element(ours.begin(), ours.end()));
	return wrong != 0;
}

int Own(const char *name, bool rx, uint16_t len)
{
	frame_len = len;
	own_data.assign(len - 42u, 'x');
	gate.cpu = std::thread::hardware_concurrency() > 1 ? 0 : -1;
	gate.spin_ns = 60000000000ull;
	gate.closed = rx ? BareRx : BareTx;
	WorkerBed bed("net_null0,size=" + std::to_string(len) + (rx ? ",copy=1" : ",no-rx=1"));
	if (!bed.dev) {
		fprintf(stderr, "dpdk_bench: %s\n", bed.error.text);
		return 1;
	}
	own_bed = &bed;
	MakeTemplates(&bed, len);
	if (rx)
		rte_eth_add_rx_callback(bed.d()->port, 0, Fill, nullptr);
	__atomic_store_n(&gate.opened, rx ? OwnRx<true> : OwnRx<false>, __ATOMIC_RELEASE);
	std::vector<double> own, bare;
	auto mine = [&] {
		return rx ? bed.Count(UDPLANE_WORKER_RX_DELIVERED)
			  : bed.Count(UDPLANE_WORKER_TX_SENT);
	};
	for (int i = 0; i < kWindows; i++) {
		__atomic_store_n(&gate.open, false, __ATOMIC_RELEASE);
		usleep(2000);
		bare.push_back(1000 / Window([] { return bare_done.load(); }));
		__atomic_store_n(&gate.open, true, __ATOMIC_RELEASE);
		usleep(2000);
		uint64_t a = mine(), t = clock_now_ns(),
			 c = __atomic_load_n(&own_client_ns, __ATOMIC_RELAXED);
		while (clock_now_ns() - t < kWindowNs)
			usleep(5000);
		uint64_t spent = clock_now_ns() - t -
				 (__atomic_load_n(&own_client_ns, __ATOMIC_RELAXED) - c);
		own.push_back((double)spent / (double)(mine() - a) - bare.back());
	}
	__atomic_store_n(&gate.opened, dpdk_queue_ops.rx_burst, __ATOMIC_RELEASE);
	bed.Stop();
	printf("{\"name\": \"%s\", \"value\": %.1f, \"unit\": \"ns a packet\", \"baseline\": %.1f, "
	       "\"ratio\": %.3f, \"min\": %.1f, \"max\": %.1f}\n",
	       name, Median(own), Median(bare), Median(own) / Median(bare),
	       *std::min_element(own.begin(), own.end()),
	       *std::max_element(own.begin(), own.end()));
	return 0;
}

double CpuSeconds()
{
	timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int Idle()
{
	WorkerBed bed("net_null0,no-rx=1");
	if (!bed.dev)
		return 1;
	usleep(500000);
	double a = CpuSeconds();
	uint64_t t = clock_now_ns();
	sleep(3);
	double percent = (CpuSeconds() - a) / ((double)(clock_now_ns() - t) / 1e9) * 100;
	printf("{\"name\": \"dpdk_idle_cpu\", \"value\": %.2f, \"unit\": \"%% of a core\", "
	       "\"baseline\": 1.0, \"ratio\": %.3f}\n",
	       percent, percent);
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	std::string row = argc == 2 ? argv[1] : "";
	if (row == "rx64")
		return Compare("dpdk_rx64", true, 64);
	if (row == "rx1400")
		return Compare("dpdk_rx1400", true, 1400);
	if (row == "tx64")
		return Compare("dpdk_tx64", false, 64);
	if (row == "tx1400")
		return Compare("dpdk_tx1400", false, 1400);
	if (row == "rx64_own")
		return Own("dpdk_rx64_own", true, 64);
	if (row == "tx64_own")
		return Own("dpdk_tx64_own", false, 64);
	if (row == "idle")
		return Idle();
	fprintf(stderr, "usage: dpdk_bench rx64|rx1400|tx64|tx1400|rx64_own|tx64_own|idle\n");
	return 2;
}
