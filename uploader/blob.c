/* SPDX-License-Identifier: GPL-3.0-or-later */
/* blob - see blob.h. */
#include "uploader/blob.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/le.h"

#define MD5_TEXT_BYTES   (BTH_BASE64_LENGTH(BTH_MD5_BYTES) + 1)
#define CRC64_TEXT_BYTES (BTH_BASE64_LENGTH(8) + 1)
#define LIST_MAX_BYTES   ((size_t)32 << 20) /* 50,000 long names; 100,000 blocks */

static const struct upl_attributes no_attributes;

/* The end of every builder. */
static int settle(struct upl_request *q, int r)
{
        if (r < 0)
                upl_request_clear(q);
        return r;
}

static int begin(struct upl_request *q, enum upl_method method, const struct upl_target *t)
{
        int r = upl_request_init(q, method, t->container, t->blob);

        if (r == 0 && t->snapshot)
                r = upl_request_param(q, "snapshot", t->snapshot);
        if (r == 0)
                r = upl_request_header(q, "x-ms-lease-id", t->lease_id);
        if (r == 0)
                r = upl_request_header(q, "If-Match", t->if_match);
        if (r == 0)
                r = upl_request_header(q, "If-None-Match", t->if_none_match);
        return r;
}

/* Begins a request with ?comp=…. */
static int begin_comp(struct upl_request *q, enum upl_method method, const struct upl_target *t,
                      const char *comp)
{
        int r = begin(q, method, t);

        return r < 0 ? r : upl_request_param(q, "comp", comp);
}

static int add_md5(struct upl_request *q, const char *name, const uint8_t *md5)
{
        char text[MD5_TEXT_BYTES];

        return md5 ? upl_request_header(q, name, bth_base64_encode(md5, BTH_MD5_BYTES, text)) : 0;
}

static char *crc64_text(uint64_t crc, char *text)
{
        uint8_t bytes[8];

        bth_store_le64(bytes, crc);
        return bth_base64_encode(bytes, sizeof bytes, text);
}

static int add_checksum(struct upl_request *q, struct upl_checksum sum)
{
        char text[CRC64_TEXT_BYTES];

        /* The service refuses a request that carries both. */
        if (sum.md5)
                return add_md5(q, "Content-MD5", sum.md5);
        if (sum.crc64)
                return upl_request_header(q, "x-ms-content-crc64", crc64_text(*sum.crc64, text));
        return 0;
}

static int add_metadata(struct upl_request *q, const struct med_metadata *metadata)
{
        int r = 0;

        for (size_t i = 0; metadata && i < metadata->n_items && r == 0; i++) {
                _cleanup_buf_ struct bth_buf name = BTH_BUF_INIT;

                r = bth_buf_add_format(&name, "x-ms-meta-%s", metadata->items[i].name);
                if (r == 0)
                        r = upl_request_header(q, name.data, metadata->items[i].value);
        }
        return r;
}

static int add_properties(struct upl_request *q, const struct upl_attributes *a)
{
        static const struct {
                enum med_property property;
                const char *header;
        } map[] = {
                { MED_PROPERTY_CONTENT_TYPE, "x-ms-blob-content-type" },
                { MED_PROPERTY_CONTENT_MD5, "x-ms-blob-content-md5" },
                { MED_PROPERTY_CONTENT_ENCODING, "x-ms-blob-content-encoding" },
                { MED_PROPERTY_CONTENT_LANGUAGE, "x-ms-blob-content-language" },
                { MED_PROPERTY_CACHE_CONTROL, "x-ms-blob-cache-control" },
        };
        int r = upl_request_header(q, "x-ms-blob-content-type", a->content_type);

        if (r == 0)
                r = add_md5(q, "x-ms-blob-content-md5", a->md5);
        for (size_t i = 0; a->properties && i < ARRAY_SIZE(map) && r == 0; i++)
                r = upl_request_header(q, map[i].header, a->properties->values[map[i].property]);
        return r;
}

static int add_attributes(struct upl_request *q, const struct upl_attributes *a)
{
        int r = add_properties(q, a ? a : &no_attributes);

        return r < 0 || !a ? r : add_metadata(q, a->metadata);
}

static void set_body(struct upl_request *q, const void *data, uint64_t n)
{
        q->body = (struct upl_body){ .data = data, .length_bytes = n };
}

static int begin_container(struct upl_request *q, enum upl_method method, const char *container)
{
        int r = upl_request_init(q, method, container, NULL);

        return r < 0 ? r : upl_request_param(q, "restype", "container");
}

int upl_create_container(struct upl_request *q, const char *container)
{
        return settle(q, begin_container(q, UPL_METHOD_PUT, container));
}

int upl_delete_container(struct upl_request *q, const char *container)
{
        return settle(q, begin_container(q, UPL_METHOD_DELETE, container));
}

/* What both lists take. */
static int add_list_params(struct upl_request *q, const char *prefix, const char *marker,
                           unsigned max_results)
{
        char number[16];
        int r = upl_request_param(q, "comp", "list");

        (void)snprintf(number, sizeof number, "%u", max_results);
        if (r == 0)
                r = upl_request_param(q, "maxresults", number);
        if (r == 0 && prefix)
                r = upl_request_param(q, "prefix", prefix);
        if (r == 0 && marker)
                r = upl_request_param(q, "marker", marker);
        q->max_answer_bytes = LIST_MAX_BYTES;
        return r;
}

int upl_list_containers(struct upl_request *q, const char *prefix, const char *marker,
                        unsigned max_results)
{
        int r = upl_request_init(q, UPL_METHOD_GET, NULL, NULL);

        if (r == 0)
                r = add_list_params(q, prefix, marker, max_results);
        return settle(q, r);
}

int upl_list_blobs(struct upl_request *q, const char *container, const char *prefix,
                   const char *marker, bool snapshots, unsigned max_results)
{
        int r = begin_container(q, UPL_METHOD_GET, container);

        if (r == 0)
                r = add_list_params(q, prefix, marker, max_results);
        if (r == 0 && snapshots)
                r = upl_request_param(q, "include", "snapshots");
        return settle(q, r);
}

int upl_put_blob(struct upl_request *q, const struct upl_target *t, const void *data, uint64_t n,
                 struct upl_checksum sum, const struct upl_attributes *a)
{
        int r = begin(q, UPL_METHOD_PUT, t);

        if (r == 0)
                r = upl_request_header(q, "x-ms-blob-type", "BlockBlob");
        if (r == 0)
                r = add_checksum(q, sum);
        if (r == 0)
                r = add_attributes(q, a);
        set_body(q, data, n);
        return settle(q, r);
}

int upl_put_block(struct upl_request *q, const struct upl_target *t, const char *block_id,
                  const void *data, uint64_t n, struct upl_checksum sum)
{
        struct upl_target plain = { t->container, t->blob, NULL, t->lease_id, NULL, NULL };
        int r = begin_comp(q, UPL_METHOD_PUT, &plain, "block");

        if (r == 0)
                r = upl_request_param(q, "blockid", block_id);
        if (r == 0)
                r = add_checksum(q, sum);
        set_body(q, data, n);
        return settle(q, r);
}

static int add_block_list(struct bth_buf *xml, const char *const *ids, size_t n_ids)
{
        int r = bth_buf_add_string(xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");

        for (size_t i = 0; i < n_ids && r == 0; i++)
                r = bth_buf_add_format(xml, "<Latest>%s</Latest>", ids[i]);
        return r < 0 ? r : bth_buf_add_string(xml, "</BlockList>");
}

int upl_put_block_list(struct upl_request *q, const struct upl_target *t, const char *const *ids,
                       size_t n_ids, const struct upl_attributes *a)
{
        uint8_t md5[BTH_MD5_BYTES];
        int r = begin_comp(q, UPL_METHOD_PUT, t, "blocklist");

        if (r == 0)
                r = add_block_list(&q->own_body, ids, n_ids);
        if (r == 0)
                r = bth_digest_of(BTH_DIGEST_MD5, q->own_body.data, q->own_body.length, md5);
        if (r == 0)
                r = add_md5(q, "Content-MD5", md5);
        if (r == 0)
                r = upl_request_header(q, "Content-Type", "application/xml");
        if (r == 0)
                r = add_attributes(q, a);
        set_body(q, q->own_body.data, q->own_body.length);
        return settle(q, r);
}

int upl_get_block_list(struct upl_request *q, const struct upl_target *t, bool committed,
                       bool uncommitted)
{
        int r = begin_comp(q, UPL_METHOD_GET, t, "blocklist");

        if (r == 0)
                r = upl_request_param(q, "blocklisttype",
                                      committed && uncommitted ? "all"
                                      : committed              ? "committed"
                                                               : "uncommitted");
        q->max_answer_bytes = LIST_MAX_BYTES;
        return settle(q, r);
}

int upl_create_page_blob(struct upl_request *q, const struct upl_target *t, uint64_t length_bytes,
                         const struct upl_attributes *a)
{
        int r = begin(q, UPL_METHOD_PUT, t);

        if (r == 0)
                r = upl_request_header(q, "x-ms-blob-type", "PageBlob");
        if (r == 0)
                r = upl_request_header_u64(q, "x-ms-blob-content-length", length_bytes);
        if (r == 0)
                r = add_attributes(q, a);
        return settle(q, r);
}

static int add_range(struct upl_request *q, uint64_t offset_bytes, uint64_t length_bytes)
{
        char text[64];

        (void)snprintf(text, sizeof text, "bytes=%" PRIu64 "-%" PRIu64, offset_bytes,
                       offset_bytes + length_bytes - 1);
        return upl_request_header(q, "x-ms-range", text);
}

static int begin_pages(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                       uint64_t length_bytes, const char *how)
{
        int r = begin_comp(q, UPL_METHOD_PUT, t, "page");

        if (r == 0)
                r = add_range(q, offset_bytes, length_bytes);
        return r < 0 ? r : upl_request_header(q, "x-ms-page-write", how);
}

int upl_put_pages(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                  const void *data, uint64_t n, struct upl_checksum sum)
{
        int r = begin_pages(q, t, offset_bytes, n, "update");

        if (r == 0)
                r = add_checksum(q, sum);
        set_body(q, data, n);
        return settle(q, r);
}

int upl_clear_pages(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                    uint64_t length_bytes)
{
        return settle(q, begin_pages(q, t, offset_bytes, length_bytes, "clear"));
}

int upl_get_page_ranges(struct upl_request *q, const struct upl_target *t)
{
        int r = begin_comp(q, UPL_METHOD_GET, t, "pagelist");

        q->max_answer_bytes = LIST_MAX_BYTES;
        return settle(q, r);
}

int upl_get_blob(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                 uint64_t length_bytes, bool range_md5)
{
        int r = begin(q, UPL_METHOD_GET, t);

        if (r == 0 && length_bytes > 0)
                r = add_range(q, offset_bytes, length_bytes);
        if (r == 0 && length_bytes > 0 && range_md5)
                r = upl_request_header(q, "x-ms-range-get-content-md5", "true");
        return settle(q, r);
}

int upl_get_properties(struct upl_request *q, const struct upl_target *t)
{
        return settle(q, begin(q, UPL_METHOD_HEAD, t));
}

int upl_set_properties(struct upl_request *q, const struct upl_target *t,
                       const struct upl_attributes *a)
{
        int r = begin_comp(q, UPL_METHOD_PUT, t, "properties");

        return settle(q, r < 0 ? r : add_properties(q, a));
}

int upl_set_metadata(struct upl_request *q, const struct upl_target *t,
                     const struct med_metadata *metadata)
{
        int r = begin_comp(q, UPL_METHOD_PUT, t, "metadata");

        return settle(q, r < 0 ? r : add_metadata(q, metadata));
}

int upl_snapshot(struct upl_request *q, const struct upl_target *t)
{
        return settle(q, begin_comp(q, UPL_METHOD_PUT, t, "snapshot"));
}

int upl_delete_blob(struct upl_request *q, const struct upl_target *t, bool snapshots)
{
        int r = begin(q, UPL_METHOD_DELETE, t);

        if (r == 0 && snapshots)
                r = upl_request_header(q, "x-ms-delete-snapshots", "include");
        return settle(q, r);
}

static int begin_lease(struct upl_request *q, const struct upl_target *t, const char *action)
{
        int r = begin_comp(q, UPL_METHOD_PUT, t, "lease");

        return r < 0 ? r : upl_request_header(q, "x-ms-lease-action", action);
}

int upl_lease_acquire(struct upl_request *q, const struct upl_target *t, const char *lease_id,
                      unsigned seconds)
{
        int r = begin_lease(q, t, "acquire");

        if (r == 0)
                r = upl_request_header_u64(q, "x-ms-lease-duration", seconds);
        if (r == 0)
                r = upl_request_header(q, "x-ms-proposed-lease-id", lease_id);
        return settle(q, r);
}

int upl_lease_renew(struct upl_request *q, const struct upl_target *t)
{
        return settle(q, begin_lease(q, t, "renew"));
}

int upl_lease_release(struct upl_request *q, const struct upl_target *t)
{
        return settle(q, begin_lease(q, t, "release"));
}

int upl_lease_break(struct upl_request *q, const struct upl_target *t)
{
        int r = begin_lease(q, t, "break");

        if (r == 0)
                r = upl_request_header_u64(q, "x-ms-lease-break-period", 0);
        return settle(q, r);
}

int upl_blob_look(const struct upl_headers *answer, struct upl_blob_look *ret_look)
{
        const char *length = upl_headers_get(answer, "Content-Length");
        const char *md5 = upl_headers_get(answer, "x-ms-blob-content-md5");
        struct upl_blob_look look = {
                .etag = upl_headers_get(answer, "ETag"),
                .type = upl_headers_get(answer, "x-ms-blob-type"),
                .last_modified = upl_headers_get(answer, "Last-Modified"),
                .access_tier = upl_headers_get(answer, "x-ms-access-tier"),
        };
        size_t n;

        if (!look.etag || !length || bth_parse_u64(length, &look.length_bytes) < 0)
                return -EBADMSG;
        /* Of a whole blob Content-MD5 is the property; of a range it is x-ms-blob-content-md5. */
        if (!md5 && !upl_headers_get(answer, "Content-Range"))
                md5 = upl_headers_get(answer, "Content-MD5");
        if (md5) {
                uint8_t bytes[24];

                if (strlen(md5) != BTH_BASE64_LENGTH(BTH_MD5_BYTES) ||
                    bth_base64_decode(md5, strlen(md5), bytes, &n) < 0 || n != BTH_MD5_BYTES)
                        return -EBADMSG;
                memcpy(look.md5, bytes, BTH_MD5_BYTES);
                look.has_md5 = true;
        }
        *ret_look = look;
        return 0;
}

bool upl_checksum_echoed(const struct upl_headers *answer, struct upl_checksum sum)
{
        const char *md5 = upl_headers_get(answer, "Content-MD5");
        const char *crc = upl_headers_get(answer, "x-ms-content-crc64");
        char text[MD5_TEXT_BYTES];

        if (sum.md5 && md5)
                return strcmp(md5, bth_base64_encode(sum.md5, BTH_MD5_BYTES, text)) == 0;
        if (sum.crc64 && crc)
                return strcmp(crc, crc64_text(*sum.crc64, text)) == 0;
        return true;
}
