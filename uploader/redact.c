/* SPDX-License-Identifier: GPL-3.0-or-later */
/* redact - see redact.h. The manifest was read by an XML reader before; here it is enough to know
 * tags from text. */
#include "uploader/redact.h"

#include <string.h>

#include "base/secret.h"

#define PIECE_BYTES  ((size_t)256 << 10)
#define TAG_NAME_MAX 64u

enum where {
        IN_TEXT,
        IN_NAME,     /* of a tag */
        IN_TAG,      /* behind the name of one that holds a credential */
        IN_SECRET,   /* behind that tag */
        AT_TAG_MARK, /* behind a '<' in there */
};

struct place {
        uint64_t from, to;
};

struct redacted {
        struct bth_source source;
        struct bth_source *below;
        unsigned unit, low; /* bytes of a character; which of them is the low one */
        struct place places[UPL_REDACT_PLACES_MAX];
        size_t n;

        /* Of the search. */
        enum where where;
        char name[TAG_NAME_MAX];
        size_t name_length;
        bool slash; /* the last character was one */
};

/* --- the search --- */

static bool is_credential(const struct redacted *d)
{
        static const char *const names[] = { "StorageAccountKey", "ContainerSas" };
        const char *colon = memchr(d->name, ':', d->name_length);
        const char *name = colon ? colon + 1 : d->name;
        size_t n = d->name_length - (size_t)(name - d->name);

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (n == strlen(names[i]) && memcmp(name, names[i], n) == 0)
                        return true;
        return false;
}

static void take_name(struct redacted *d, char c)
{
        if (strchr(" \t\r\n/>", c) != NULL && c != '\0') {
                d->where = is_credential(d) ? IN_TAG : IN_TEXT;
                d->name_length = 0;
        } else if (d->name_length < TAG_NAME_MAX)
                d->name[d->name_length++] = c;
}

/* One character, at `at` of the file. Returns 0 or -E2BIG. */
static int take(struct redacted *d, char c, uint64_t at)
{
        switch (d->where) {
        case IN_TEXT:
                if (c == '<')
                        d->where = IN_NAME;
                break;
        case IN_NAME:
                take_name(d, c);
                break;
        case IN_SECRET:
                if (c == '<')
                        d->where = AT_TAG_MARK;
                break;
        case AT_TAG_MARK:
                /* What is no end tag is CDATA or a comment, and goes with the rest. */
                d->where = c == '/' ? IN_TEXT : IN_SECRET;
                if (c == '/')
                        d->places[d->n++].to = at - d->unit;
                break;
        default:
                break;
        }
        if (d->where == IN_TAG && c == '>') {
                if (d->n == UPL_REDACT_PLACES_MAX)
                        return -E2BIG;
                d->where = d->slash ? IN_TEXT : IN_SECRET;
                d->places[d->n].from = at + d->unit;
        }
        d->slash = c == '/';
        return 0;
}

/* How many bytes of [data, data + n) need not be looked at. */
static size_t skip(const struct redacted *d, const uint8_t *data, size_t n)
{
        const uint8_t *mark;

        if (d->where != IN_TEXT || d->unit != 1)
                return 0;
        mark = memchr(data, '<', n);
        return mark ? (size_t)(mark - data) : n;
}

static int search_piece(struct redacted *d, const uint8_t *data, size_t n, uint64_t at)
{
        int r = 0;

        for (size_t i = skip(d, data, n); i + d->unit <= n && r == 0;) {
                bool plain = d->unit == 1 || data[i + 1 - d->low] == 0;

                r = take(d, plain ? (char)data[i + d->low] : '\x7f', at + i);
                i += d->unit;
                i += skip(d, data + i, n - i);
        }
        return r;
}

/* The byte order mark, or the first '<', tells. */
static void learn_encoding(struct redacted *d, const uint8_t *data, size_t n)
{
        bool little = n >= 2 &&
                      ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == '<' && data[1] == 0));
        bool big = n >= 2 &&
                   ((data[0] == 0xfe && data[1] == 0xff) || (data[0] == 0 && data[1] == '<'));

        d->unit = little || big ? 2 : 1;
        d->low = big ? 1 : 0;
}

static int search(struct redacted *d)
{
        const uint64_t size = d->below->size_bytes;
        _cleanup_free_ uint8_t *piece = bth_io_buffer_new(PIECE_BYTES);
        int r = piece ? 0 : -ENOMEM;

        for (uint64_t at = 0; at < size && r == 0; at += PIECE_BYTES) {
                size_t n = (size_t)MIN((uint64_t)PIECE_BYTES, size - at);

                r = bth_source_read(d->below, at, piece, n);
                if (r == 0 && at == 0)
                        learn_encoding(d, piece, n);
                if (r == 0)
                        r = search_piece(d, piece, n, at);
        }
        /* One that is never closed goes to the end. */
        if (d->where == IN_SECRET || d->where == AT_TAG_MARK)
                d->places[d->n++].to = size;
        if (piece)
                bth_wipe(piece, PIECE_BYTES);
        return r;
}

/* --- reading --- */

static int redacted_read(struct bth_source *source, uint64_t offset_bytes, void *buffer, size_t n)
{
        const struct redacted *d = container_of(source, struct redacted, source);
        uint8_t *data = buffer;
        int r = bth_source_read(d->below, offset_bytes, buffer, n);

        for (size_t i = 0; i < d->n && r == 0; i++) {
                uint64_t from = MAX(d->places[i].from, offset_bytes);
                uint64_t to = MIN(d->places[i].to, offset_bytes + n);

                for (uint64_t at = from; at < to; at++)
                        data[at - offset_bytes] =
                                (at - d->places[i].from) % d->unit == d->low ? '*' : 0;
        }
        return r;
}

static void redacted_free(struct bth_source *source)
{
        free(container_of(source, struct redacted, source));
}

int upl_redact_new(struct bth_source *below, struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = { .read = redacted_read, .free = redacted_free };
        struct redacted *d = calloc(1, sizeof *d);
        int r;

        if (!d)
                return -ENOMEM;
        d->source = *below;
        d->source.ops = &ops;
        d->below = below;
        r = search(d);
        if (r < 0) {
                free(d);
                return r;
        }
        *ret_source = &d->source;
        return 0;
}
