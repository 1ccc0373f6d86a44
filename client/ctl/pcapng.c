/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/pcapng.h"

#include <string.h>

#define BLOCK_SECTION	  0x0a0d0d0au
#define BLOCK_INTERFACE	  1u
#define BLOCK_STATISTICS  5u
#define BLOCK_PACKET	  6u
#define BYTE_ORDER_MAGIC  0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u

#define OPT_END	       0u
#define OPT_COMMENT    1u
#define SHB_USERAPPL   4u
#define IF_NAME	       2u
#define IF_DESCRIPTION 3u
#define IF_TSRESOL     9u
#define EPB_FLAGS      2u
#define EPB_DROPCOUNT  4u
#define ISB_IFRECV     4u
#define ISB_IFDROP     5u
#define TEXT_MAX       4000u /* of a comment, bytes */

/* of EPB_FLAGS */
#define FLAG_INBOUND   0x1u
#define FLAG_OUTBOUND  0x2u
#define FLAG_UNICAST   (1u << 2)
#define FLAG_MULTICAST (2u << 2)

static uint32_t padded(size_t len)
{
	return (uint32_t)(len + 3) & ~3u;
}

static void put32(FILE *f, uint32_t v)
{
	fwrite(&v, sizeof(v), 1, f);
}

static void put_padded(FILE *f, const void *data, uint32_t len)
{
	static const char zeros[4];

	if (len)
		fwrite(data, 1, len, f);
	fwrite(zeros, 1, padded(len) - len, f);
}

static void put_option(FILE *f, uint16_t code, const void *value, uint32_t len)
{
	uint16_t head[2] = {code, (uint16_t)len};

	fwrite(head, sizeof(head), 1, f);
	put_padded(f, value, len);
}

static uint32_t option_len(uint32_t len)
{
	return 4 + padded(len);
}

static uint32_t text_len(const char *text)
{
	return text ? (uint32_t)strnlen(text, TEXT_MAX) : 0;
}

/* An empty text is left out. */
static uint32_t text_option_len(const char *text)
{
	return text_len(text) ? option_len(text_len(text)) : 0;
}

static void put_text(FILE *f, uint16_t code, const char *text)
{
	if (text_len(text))
		put_option(f, code, text, text_len(text));
}

static void put_time(FILE *f, uint64_t ns)
{
	put32(f, (uint32_t)(ns >> 32));
	put32(f, (uint32_t)ns);
}

static void put_section(FILE *f, const char *program)
{
	uint32_t len = 28 + text_option_len(program) + option_len(0);
	uint16_t version[2] = {1, 0};
	uint64_t section_len = UINT64_MAX; /* not known */

	put32(f, BLOCK_SECTION);
	put32(f, len);
	put32(f, BYTE_ORDER_MAGIC);
	fwrite(version, sizeof(version), 1, f);
	fwrite(&section_len, sizeof(section_len), 1, f);
	put_text(f, SHB_USERAPPL, program);
	put_option(f, OPT_END, NULL, 0);
	put32(f, len);
}

void pcapng_begin(FILE *f, const char *program, const char *ifname, const char *description,
		  uint32_t snap_len)
{
	uint32_t len = 20 + text_option_len(ifname) + text_option_len(description) + option_len(1) +
		       option_len(0);
	uint16_t link[2] = {LINKTYPE_ETHERNET, 0};
	uint8_t resolution = 9; /* 10^-9 s */

	put_section(f, program);
	put32(f, BLOCK_INTERFACE);
	put32(f, len);
	fwrite(link, sizeof(link), 1, f);
	put32(f, snap_len);
	put_text(f, IF_NAME, ifname);
	put_text(f, IF_DESCRIPTION, description);
	put_option(f, IF_TSRESOL, &resolution, 1);
	put_option(f, OPT_END, NULL, 0);
	put32(f, len);
}

void pcapng_packet(FILE *f, const struct pcapng_packet *p)
{
	uint32_t len = 32 + padded(p->captured_len) + option_len(4) + option_len(0) +
		       (p->dropped ? option_len(8) : 0);
	uint32_t flags = (p->sent ? FLAG_OUTBOUND : FLAG_INBOUND) |
			 (p->multicast ? FLAG_MULTICAST : FLAG_UNICAST);

	for (int i = 0; i < PCAPNG_COMMENTS; i++)
		len += text_option_len(p->comment[i]);
	put32(f, BLOCK_PACKET);
	put32(f, len);
	put32(f, 0); /* interface */
	put_time(f, p->time_ns);
	put32(f, p->captured_len);
	put32(f, p->len);
	put_padded(f, p->data, p->captured_len);
	put_option(f, EPB_FLAGS, &flags, sizeof(flags));
	if (p->dropped)
		put_option(f, EPB_DROPCOUNT, &p->dropped, sizeof(p->dropped));
	for (int i = 0; i < PCAPNG_COMMENTS; i++)
		put_text(f, OPT_COMMENT, p->comment[i]);
	put_option(f, OPT_END, NULL, 0);
	put32(f, len);
}

void pcapng_end(FILE *f, uint64_t now_ns, uint64_t received, uint64_t dropped, const char *comment)
{
	uint32_t len = 24 + text_option_len(comment) + 2 * option_len(8) + option_len(0);

	put32(f, BLOCK_STATISTICS);
	put32(f, len);
	put32(f, 0); /* interface */
	put_time(f, now_ns);
	put_text(f, OPT_COMMENT, comment);
	put_option(f, ISB_IFRECV, &received, sizeof(received));
	put_option(f, ISB_IFDROP, &dropped, sizeof(dropped));
	put_option(f, OPT_END, NULL, 0);
	put32(f, len);
}
