/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/netif.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Writes the interface of the IPv4 default route of the lowest metric to name; if there is none,
 * that of the IPv6 one. Returns false if there is neither. */
static bool default_route(char *name)
{
	unsigned long dest, flags, mask, metric, best = ~0ul;
	char line[512], ifname[IFNAMSIZ];
	FILE *f = fopen("/proc/net/route", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%15s %lx %*x %lx %*d %*d %lu %lx", ifname, &dest, &flags, &metric,
			   &mask) != 5)
			continue;
		if (dest || mask || !(flags & 1) || metric >= best)
			continue;
		best = metric;
		strcpy(name, ifname);
	}
	if (f)
		fclose(f);
	f = best == ~0ul ? fopen("/proc/net/ipv6_route", "re") : NULL;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*32[0]%*1[ ]%lx %*s %*s %*s %lx %*x %*x %lx %15s", &mask,
			   &metric, &flags, ifname) != 4)
			continue;
		if (mask || !(flags & 1) || flags & 0x200 /* reject */ || !strcmp(ifname, "lo") ||
		    metric >= best)
			continue;
		best = metric;
		strcpy(name, ifname);
	}
	if (f)
		fclose(f);
	return best != ~0ul;
}

static int request(int fd, const char *name, unsigned long req, struct ifreq *ifr)
{
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	return ioctl(fd, req, ifr) ? -errno : 0;
}

static int read_mac(struct netif *n, int fd)
{
	struct ifreq ifr = {0};
	int err = request(fd, n->name, SIOCGIFHWADDR, &ifr);

	if (err)
		return err;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -EOPNOTSUPP;
	memcpy(n->mac, ifr.ifr_hwaddr.sa_data, sizeof(n->mac));
	return 0;
}

/* Returns the number of RX queues that the driver reports as in use; if it reports none, the number
 * of directories in sysfs, which may be those of another network namespace. */
static uint32_t read_queue_cnt(const char *name, int fd)
{
	struct ethtool_channels ch = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (char *)&ch};
	uint32_t cnt = 0;
	struct dirent *e;
	char path[64];
	DIR *d;

	if (!request(fd, name, SIOCETHTOOL, &ifr) && ch.rx_count + ch.combined_count)
		return ch.rx_count + ch.combined_count;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", name);
	d = opendir(path);
	while (d && (e = readdir(d)))
		cnt += !strncmp(e->d_name, "rx-", 3);
	if (d)
		closedir(d);
	return cnt ? cnt : 1;
}

static int read_numa_node(const char *name)
{
	char path[64];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node", name);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &node) != 1)
		node = -1;
	if (f)
		fclose(f);
	return node;
}

static bool is_virtual(const char *driver)
{
	static const char *const name[] = {"",	      "veth",	"netkit", "tun",	"bridge",
					   "macvlan", "ipvlan", "dummy",  "virtio_net", "vif"};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (!strcmp(driver, name[i]))
			return true;
	return false;
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int netif_read_mac(struct netif *n)
{
	int fd = open_socket(), err;

	if (fd < 0)
		return fd;
	err = read_mac(n, fd);
	close(fd);
	return err;
}

uint32_t netif_read_queue_cnt(const struct netif *n)
{
	int fd = open_socket();
	uint32_t cnt;

	if (fd < 0)
		return n->queue_cnt;
	cnt = read_queue_cnt(n->name, fd);
	close(fd);
	return cnt;
}

static int read_all(struct netif *n, int fd, struct error *error)
{
	struct ethtool_drvinfo drv = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq ifr = {0};
	int err = request(fd, n->name, SIOCGIFINDEX, &ifr);

	if (err)
		return error_set(
			error, -ENODEV,
			"no interface \"%s\" in this network namespace; `ip link` shows those "
			"that exist",
			n->name);
	n->ifindex = ifr.ifr_ifindex;
	err = read_mac(n, fd);
	if (err)
		return error_set(error, err,
				 "interface %s is no Ethernet device; choose one that is", n->name);
	err = request(fd, n->name, SIOCGIFMTU, &ifr);
	if (err)
		return error_set(error, err, "MTU of %s: %s", n->name, strerror(-err));
	n->mtu = ifr.ifr_mtu;
	n->queue_cnt = read_queue_cnt(n->name, fd);
	n->numa_node = read_numa_node(n->name);
	ifr.ifr_data = (char *)&drv;
	if (!request(fd, n->name, SIOCETHTOOL, &ifr))
		snprintf(n->driver, sizeof(n->driver), "%.31s", drv.driver);
	n->is_virtual = is_virtual(n->driver);
	return 0;
}

int netif_read(struct netif *n, const char *name, struct error *error)
{
	int fd, err;

	memset(n, 0, sizeof(*n));
	if (!name[0] && !default_route(n->name))
		return error_set(
			error, -ENODEV,
			"no default route to find the interface by; name one with --interface");
	if (name[0])
		snprintf(n->name, sizeof(n->name), "%s", name);
	fd = open_socket();
	if (fd < 0)
		return error_set(error, fd, "socket: %s", strerror(-fd));
	err = read_all(n, fd, error);
	close(fd);
	return err;
}
