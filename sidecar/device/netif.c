/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/netif.h"

#include <dirent.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
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

/* Returns the number of RX (or TX) queues that the driver reports as in use; if it reports none,
 * the number of directories in sysfs, which may be those of another network namespace. */
static uint32_t read_queue_cnt(const char *name, int fd, bool tx)
{
	struct ethtool_channels ch = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (char *)&ch};
	uint32_t cnt = 0;
	struct dirent *e;
	char path[64];
	DIR *d;

	if (!request(fd, name, SIOCETHTOOL, &ifr))
		cnt = (tx ? ch.tx_count : ch.rx_count) + ch.combined_count;
	if (cnt)
		return cnt;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", name);
	d = opendir(path);
	while (d && (e = readdir(d)))
		cnt += !strncmp(e->d_name, tx ? "tx-" : "rx-", 3);
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
	cnt = read_queue_cnt(n->name, fd, false);
	close(fd);
	return cnt;
}

/* Returns the place of a feature among the device's, or -1. */
static int feature_index(const struct netif *n, int fd, const char *feature)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t cnt;
	} sset = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_FEATURES}};
	struct ifreq ifr = {.ifr_data = (char *)&sset};
	struct ethtool_gstrings *names;
	int at = -1;

	if (request(fd, n->name, SIOCETHTOOL, &ifr) || sset.info.sset_mask == 0)
		return -1;
	names = calloc(1, sizeof(*names) + (size_t)sset.cnt * ETH_GSTRING_LEN);
	if (!names)
		return -1;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = sset.cnt;
	ifr.ifr_data = (char *)names;
	if (!request(fd, n->name, SIOCETHTOOL, &ifr))
		for (uint32_t i = 0; i < names->len && i < sset.cnt && at < 0; i++)
			if (!strncmp((const char *)names->data + i * ETH_GSTRING_LEN, feature,
				     ETH_GSTRING_LEN))
				at = (int)i;
	free(names);
	return at;
}

static bool feature_active(const struct netif *n, int fd, uint32_t at)
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block block[8];
	} f = {.head = {.cmd = ETHTOOL_GFEATURES, .size = 8}};
	struct ifreq ifr = {.ifr_data = (char *)&f};

	if (at / 32 >= 8 || request(fd, n->name, SIOCETHTOOL, &ifr))
		return false;
	return f.block[at / 32].active >> (at % 32) & 1;
}

static int take_qdisc(const struct nlattr *a, void *qdisc)
{
	if (mnl_attr_get_type(a) == IFLA_QDISC && !mnl_attr_validate(a, MNL_TYPE_NUL_STRING))
		snprintf(qdisc, IFNAMSIZ, "%s", mnl_attr_get_str(a));
	return MNL_CB_OK;
}

static int take_link(const struct nlmsghdr *nlh, void *qdisc)
{
	return mnl_attr_parse(nlh, sizeof(struct ifinfomsg), take_qdisc, qdisc);
}

/* Returns true if the interface has no qdisc: packets go to the driver at once. */
static bool has_no_qdisc(const struct netif *n)
{
	char buf[MNL_SOCKET_BUFFER_SIZE], qdisc[IFNAMSIZ] = "";
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link;
	ssize_t len;

	if (!nl)
		return false;
	h->nlmsg_type = RTM_GETLINK;
	h->nlmsg_flags = NLM_F_REQUEST;
	link = mnl_nlmsg_put_extra_header(h, sizeof(*link));
	link->ifi_index = n->ifindex;
	/* the answer has come when the request has been sent */
	if (!mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) &&
	    mnl_socket_sendto(nl, h, h->nlmsg_len) > 0 &&
	    (len = mnl_socket_recvfrom(nl, buf, sizeof(buf))) > 0)
		mnl_cb_run(buf, (size_t)len, 0, 0, take_link, qdisc);
	mnl_socket_close(nl);
	return !strcmp(qdisc, "noqueue");
}

void netif_read_tx(struct netif *n, struct netif_tx *tx)
{
	int fd = open_socket();

	memset(tx, 0, sizeof(*tx));
	if (fd < 0)
		return;
	if (!n->udp_segmentation)
		n->udp_segmentation = 1 + feature_index(n, fd, "tx-udp-segmentation");
	tx->cuts_udp =
		n->udp_segmentation && feature_active(n, fd, (uint32_t)n->udp_segmentation - 1);
	tx->queue_cnt = read_queue_cnt(n->name, fd, true);
	tx->no_qdisc = has_no_qdisc(n);
	close(fd);
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
	n->queue_cnt = read_queue_cnt(n->name, fd, false);
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
