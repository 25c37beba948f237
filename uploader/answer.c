/* SPDX-License-Identifier: GPL-3.0-or-later */
/* answer - see answer.h.
 *
 * All answers have the same shape: records (Block, PageRange, Blob) with text leaves in them. A
 * reader gets each leaf with its parent, and each element's end. */
#include "uploader/answer.h"

#include <string.h>

#include "media/xml.h"

#define DEPTH_MAX 16u
#define LEAF_MAX  8192u

struct reader {
        /* Each may be NULL; a negative errno ends the parse. */
        int (*begin)(void *userdata, const char *name, const char *parent);
        int (*leaf)(void *userdata, const char *parent, const char *name, const char *text);
        int (*end)(void *userdata, const char *name);
        void *userdata;
        const char *stack[DEPTH_MAX];
        unsigned depth;
        struct bth_buf text;
        bool has_child; /* so the element that ends is no leaf */
        bool encoded;   /* the leaf is percent-encoded, because XML cannot hold it */
};

static int on_start(void *userdata, const char *name, const struct med_xml_attributes *attributes,
                    uint64_t line)
{
        struct reader *r = userdata;
        const char *value;
        size_t n;

        if (r->depth >= DEPTH_MAX)
                return -E2BIG;
        r->stack[r->depth++] = name;
        r->text.length = 0;
        r->has_child = false;
        r->encoded = false;
        for (size_t i = 0; i < attributes->n; i++) {
                value = med_xml_attribute_value(attributes, i, &n);
                if (strcmp(med_xml_attribute_name(attributes, i), "Encoded") == 0 && n == 4 &&
                    memcmp(value, "true", 4) == 0)
                        r->encoded = true;
        }
        return r->begin ? r->begin(r->userdata, name, r->depth > 1 ? r->stack[r->depth - 2] : "")
                        : 0;
}

static int on_text(void *userdata, const char *text, size_t n)
{
        struct reader *r = userdata;

        if (n > LEAF_MAX - MIN(r->text.length, (size_t)LEAF_MAX))
                return -E2BIG;
        return bth_buf_add(&r->text, text, n);
}

static int percent_decode(struct bth_buf *text)
{
        size_t to = 0;

        for (size_t from = 0; from < text->length; from++, to++) {
                text->data[to] = text->data[from];
                if (text->data[from] != '%')
                        continue;
                if (from + 2 >= text->length ||
                    bth_hex_decode(text->data + from + 1, 2, text->data + to) < 0)
                        return -EBADMSG;
                from += 2;
        }
        text->length = to;
        text->data[to] = '\0';
        return 0;
}

static int on_end(void *userdata, const char *name, uint64_t line)
{
        struct reader *r = userdata;
        const char *parent = r->depth > 1 ? r->stack[r->depth - 2] : "";
        int e = 0;

        if (!r->has_child && r->leaf) {
                if (r->text.data)
                        r->text.data[r->text.length] = '\0';
                if (r->encoded && r->text.length > 0)
                        e = percent_decode(&r->text);
                if (e == 0 && r->text.data && strlen(r->text.data) != r->text.length)
                        e = -EBADMSG;
                if (e == 0)
                        e = r->leaf(r->userdata, parent, name, r->text.data ? r->text.data : "");
        }
        r->depth--;
        r->text.length = 0;
        r->has_child = true;
        return e < 0 || !r->end ? e : r->end(r->userdata, name);
}

static int read_answer(struct reader *r, const void *data, size_t n, const char *what,
                       struct bth_error *error)
{
        static const struct med_xml_handler handler = { on_start, on_text, on_end };
        int e = med_xml_parse(data, n, &handler, r, what, MED_XML_DOCUMENT, error);

        bth_buf_clear(&r->text);
        if (e == -E2BIG)
                return bth_error_set(error, e, BTH_REASON_LIMIT_EXCEEDED,
                                     "the service's %s goes beyond every limit we know", what);
        if (e < 0 && e != -ENOMEM)
                return bth_error_set(error, -EBADMSG, BTH_REASON_NETWORK,
                                     "the service's %s is not what its documentation says", what);
        return e;
}

/* Makes room for one more of `size` bytes. Returns 0, -E2BIG, -ENOMEM. */
static int grow(void **items, size_t n, size_t *allocated, size_t size, size_t most)
{
        size_t wanted = *allocated ? *allocated * 2 : 64;
        void *grown;

        if (n >= most)
                return -E2BIG;
        if (n < *allocated)
                return 0;
        grown = reallocarray(*items, wanted, size);
        if (!grown)
                return -ENOMEM;
        *items = grown;
        *allocated = wanted;
        return 0;
}

/* --- errors --- */

struct error_code {
        char *code;
        size_t code_bytes;
};

static int error_leaf(void *userdata, const char *parent, const char *name, const char *text)
{
        struct error_code *e = userdata;

        if (strcmp(parent, "Error") == 0 && strcmp(name, "Code") == 0)
                (void)bth_escape(text, strlen(text), e->code, e->code_bytes);
        return 0;
}

void upl_answer_error_code(const struct bth_buf *content, char *code, size_t code_bytes)
{
        struct error_code e = { code, code_bytes };
        struct reader r = { .leaf = error_leaf, .userdata = &e };

        code[0] = '\0';
        /* A proxy's error page is no XML: then there is no code. */
        if (content->length > 0)
                (void)read_answer(&r, content->data, content->length, "error", NULL);
}

/* --- Get Block List --- */

struct blocks_reader {
        struct upl_remote_blocks blocks;
        struct upl_remote_block one;
        bool committed, has_id, has_size;
};

static int blocks_begin(void *userdata, const char *name, const char *parent)
{
        struct blocks_reader *b = userdata;

        if (strcmp(name, "CommittedBlocks") == 0 || strcmp(name, "UncommittedBlocks") == 0)
                b->committed = name[0] == 'C';
        if (strcmp(name, "Block") == 0) {
                b->one = (struct upl_remote_block){ .committed = b->committed };
                b->has_id = b->has_size = false;
        }
        return 0;
}

static int blocks_leaf(void *userdata, const char *parent, const char *name, const char *text)
{
        struct blocks_reader *b = userdata;
        size_t n = strlen(text);

        if (strcmp(parent, "Block") != 0)
                return 0;
        if (strcmp(name, "Name") == 0) {
                if (n == 0 || n > UPL_BLOCK_ID_MAX)
                        return -EBADMSG;
                memcpy(b->one.id, text, n + 1);
                b->has_id = true;
        } else if (strcmp(name, "Size") == 0) {
                if (bth_parse_u64(text, &b->one.length_bytes) < 0)
                        return -EBADMSG;
                b->has_size = true;
        }
        return 0;
}

static int blocks_end(void *userdata, const char *name)
{
        struct blocks_reader *b = userdata;
        int e;

        if (strcmp(name, "Block") != 0)
                return 0;
        if (!b->has_id || !b->has_size)
                return -EBADMSG;
        e = grow((void **)&b->blocks.items, b->blocks.n, &b->blocks.allocated, sizeof b->one,
                 UPL_ANSWER_BLOCKS_MAX);
        if (e == 0)
                b->blocks.items[b->blocks.n++] = b->one;
        return e;
}

void upl_remote_blocks_clear(struct upl_remote_blocks *b)
{
        free(b->items);
        *b = (struct upl_remote_blocks){ 0 };
}

int upl_answer_blocks(const void *data, size_t n, struct upl_remote_blocks *ret_blocks,
                      struct bth_error *error)
{
        struct blocks_reader b = { 0 };
        struct reader r = { blocks_begin, blocks_leaf, blocks_end, &b };
        int e = read_answer(&r, data, n, "block list", error);

        if (e < 0)
                upl_remote_blocks_clear(&b.blocks);
        else
                *ret_blocks = b.blocks;
        return e;
}

/* --- Get Page Ranges --- */

struct ranges_reader {
        struct upl_page_ranges ranges;
        uint64_t start, end;
        bool has_start, has_end;
};

static int ranges_leaf(void *userdata, const char *parent, const char *name, const char *text)
{
        struct ranges_reader *p = userdata;

        if (strcmp(parent, "PageRange") != 0)
                return 0;
        if (strcmp(name, "Start") == 0) {
                p->has_start = true;
                return bth_parse_u64(text, &p->start) < 0 ? -EBADMSG : 0;
        }
        if (strcmp(name, "End") == 0) {
                p->has_end = true;
                return bth_parse_u64(text, &p->end) < 0 ? -EBADMSG : 0;
        }
        return 0;
}

static int ranges_end(void *userdata, const char *name)
{
        struct ranges_reader *p = userdata;
        const struct upl_page_range *last;
        int e;

        if (strcmp(name, "PageRange") != 0)
                return 0;
        last = p->ranges.n > 0 ? &p->ranges.items[p->ranges.n - 1] : NULL;
        if (!p->has_start || !p->has_end || p->end < p->start || p->end == UINT64_MAX ||
            (last && p->start < last->offset_bytes + last->length_bytes))
                return -EBADMSG;
        e = grow((void **)&p->ranges.items, p->ranges.n, &p->ranges.allocated,
                 sizeof(struct upl_page_range), UPL_ANSWER_RANGES_MAX);
        if (e < 0)
                return e;
        p->ranges.items[p->ranges.n++] = (struct upl_page_range){
                .offset_bytes = p->start,
                .length_bytes = p->end - p->start + 1,
        };
        p->has_start = p->has_end = false;
        return 0;
}

void upl_page_ranges_clear(struct upl_page_ranges *r)
{
        free(r->items);
        *r = (struct upl_page_ranges){ 0 };
}

int upl_answer_page_ranges(const void *data, size_t n, struct upl_page_ranges *ret_ranges,
                           struct bth_error *error)
{
        struct ranges_reader p = { 0 };
        struct reader r = { NULL, ranges_leaf, ranges_end, &p };
        int e = read_answer(&r, data, n, "page list", error);

        if (e < 0)
                upl_page_ranges_clear(&p.ranges);
        else
                *ret_ranges = p.ranges;
        return e;
}

/* --- List Blobs --- */

struct blobs_reader {
        struct upl_blob_items blobs;
        struct upl_blob_item one;
};

static void blob_item_clear(struct upl_blob_item *b)
{
        free(b->name);
        free(b->snapshot);
        *b = (struct upl_blob_item){ 0 };
}

static int keep_text(char **slot, const char *text)
{
        if (*slot)
                return -EBADMSG;
        *slot = strdup(text);
        return *slot ? 0 : -ENOMEM;
}

static int blobs_begin(void *userdata, const char *name, const char *parent)
{
        struct blobs_reader *b = userdata;

        if (strcmp(name, "Blob") == 0)
                blob_item_clear(&b->one);
        return 0;
}

static int blobs_leaf(void *userdata, const char *parent, const char *name, const char *text)
{
        struct blobs_reader *b = userdata;

        if (strcmp(parent, "EnumerationResults") == 0 && strcmp(name, "NextMarker") == 0)
                return text[0] ? keep_text(&b->blobs.next_marker, text) : 0;
        if (strcmp(parent, "Blob") == 0 && strcmp(name, "Name") == 0)
                return text[0] ? keep_text(&b->one.name, text) : -EBADMSG;
        if (strcmp(parent, "Blob") == 0 && strcmp(name, "Snapshot") == 0)
                return text[0] ? keep_text(&b->one.snapshot, text) : 0;
        if (strcmp(parent, "Properties") == 0 && strcmp(name, "Content-Length") == 0)
                return bth_parse_u64(text, &b->one.length_bytes) < 0 ? -EBADMSG : 0;
        if (strcmp(parent, "Properties") == 0 && strcmp(name, "BlobType") == 0)
                b->one.page = strcmp(text, "PageBlob") == 0;
        if (strcmp(parent, "Properties") == 0 && strcmp(name, "AccessTier") == 0)
                b->one.archived = strcmp(text, "Archive") == 0;
        return 0;
}

static int blobs_end(void *userdata, const char *name)
{
        struct blobs_reader *b = userdata;
        int e;

        if (strcmp(name, "Blob") != 0)
                return 0;
        if (!b->one.name)
                return -EBADMSG;
        e = grow((void **)&b->blobs.items, b->blobs.n, &b->blobs.allocated, sizeof b->one,
                 UPL_ANSWER_BLOBS_MAX);
        if (e < 0)
                return e;
        b->blobs.items[b->blobs.n++] = b->one;
        b->one = (struct upl_blob_item){ 0 };
        return 0;
}

void upl_blob_items_clear(struct upl_blob_items *b)
{
        for (size_t i = 0; i < b->n; i++)
                blob_item_clear(&b->items[i]);
        free(b->items);
        free(b->next_marker);
        *b = (struct upl_blob_items){ 0 };
}

int upl_answer_blobs(const void *data, size_t n, struct upl_blob_items *ret_blobs,
                     struct bth_error *error)
{
        struct blobs_reader b = { 0 };
        struct reader r = { blobs_begin, blobs_leaf, blobs_end, &b };
        int e = read_answer(&r, data, n, "list of blobs", error);

        blob_item_clear(&b.one);
        if (e < 0)
                upl_blob_items_clear(&b.blobs);
        else
                *ret_blobs = b.blobs;
        return e;
}

/* --- List Containers --- */

static int containers_leaf(void *userdata, const char *parent, const char *name, const char *text)
{
        struct upl_container_names *c = userdata;
        int e;

        if (strcmp(parent, "EnumerationResults") == 0 && strcmp(name, "NextMarker") == 0)
                return text[0] ? keep_text(&c->next_marker, text) : 0;
        if (strcmp(parent, "Container") != 0 || strcmp(name, "Name") != 0)
                return 0;
        if (!text[0])
                return -EBADMSG;
        e = grow((void **)&c->items, c->n, &c->allocated, sizeof *c->items, UPL_ANSWER_BLOBS_MAX);
        if (e < 0)
                return e;
        c->items[c->n] = strdup(text);
        return c->items[c->n++] ? 0 : -ENOMEM;
}

void upl_container_names_clear(struct upl_container_names *c)
{
        for (size_t i = 0; i < c->n; i++)
                free(c->items[i]);
        free(c->items);
        free(c->next_marker);
        *c = (struct upl_container_names){ 0 };
}

int upl_answer_containers(const void *data, size_t n, struct upl_container_names *ret_names,
                          struct bth_error *error)
{
        struct upl_container_names c = { 0 };
        struct reader r = { NULL, containers_leaf, NULL, &c };
        int e = read_answer(&r, data, n, "list of containers", error);

        if (e < 0)
                upl_container_names_clear(&c);
        else
                *ret_names = c;
        return e;
}
