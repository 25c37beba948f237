/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-write - the streaming writer: strict, elements in the documented order.
 * Each call builds its text whole and hands it on only when all of it may be written.
 * Source: import-export specification 2.2, 2.4, 2.6; layout as in the sample of 2.7. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "media/manifest.h"
#include "media/naming.h"

#define FLUSH_BYTES ((size_t)64 << 10)

enum place {
        PLACE_DRIVE,
        PLACE_LIST,
        PLACE_ENDED,
};

struct med_manifest_writer {
        med_manifest_write_fn write;
        void *userdata;
        enum med_manifest_direction direction;
        enum place place;
        char container[64]; /* of the ContainerSas; "" without */
        uint64_t n_lists;
        uint64_t length_bytes;
        struct bth_digest *md5, *sha256;
        struct bth_buf out;
        int failed;
};

static int refuse(struct bth_error *error, enum bth_reason reason, const char *blob,
                  const char *what, const char *detail)
{
        bth_error_blob(error, blob);
        return bth_error_set(error, -EINVAL, reason, "%s%s%s", what, detail[0] != '\0' ? ": " : "",
                             detail);
}

static int out_of_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                             "no memory to write the manifest");
}

/* --- text --- */

/* XML 1.0 has no way to write these, not even by reference. */
static bool xml_can_hold(const char *text)
{
        const size_t n = strlen(text);

        if (!bth_utf8_valid(text, n))
                return false;
        for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
                if (*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r')
                        return false;
                if (p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE) /* U+FFFE, U+FFFF */
                        return false;
        }
        return true;
}

static int check_text(const char *text, const char *element, const char *blob,
                      struct bth_error *error)
{
        if (!text || xml_can_hold(text))
                return 0;
        return refuse(error, BTH_REASON_NAME_INVALID, blob,
                      "a text has characters that XML cannot hold", element);
}

/* "INDENT<NAME>TEXT</NAME>"; nothing for NULL. */
static int add_element(struct bth_buf *b, const char *indent, const char *name, const char *text)
{
        int r;

        if (!text)
                return 0;
        r = bth_buf_add_format(b, "%s<%s>", indent, name);
        if (r == 0)
                r = bth_buf_add_xml(b, text);
        return r < 0 ? r : bth_buf_add_format(b, "</%s>\n", name);
}

static int add_sidecar(struct bth_buf *b, const char *indent, const char *name,
                       const struct med_manifest_sidecar *s)
{
        char hash[2 * BTH_MD5_BYTES + 1];
        int r;

        if (!s || !s->path)
                return 0;
        r = bth_buf_add_format(b, "%s<%s Hash=\"%s\">", indent, name,
                               bth_hex_encode(s->md5, sizeof s->md5, hash));
        if (r == 0)
                r = bth_buf_add_xml(b, s->path);
        return r < 0 ? r : bth_buf_add_format(b, "</%s>\n", name);
}

/* --- output --- */

static int flush(struct med_manifest_writer *w)
{
        int r = bth_digest_update(w->md5, w->out.data, w->out.length);

        if (r == 0)
                r = bth_digest_update(w->sha256, w->out.data, w->out.length);
        if (r == 0 && w->out.length > 0)
                r = w->write(w->userdata, w->out.data, w->out.length);
        w->length_bytes += w->out.length;
        w->out.length = 0;
        return r;
}

/* Ends a call: text built from `start` on stays, or goes when building failed. */
static int settle(struct med_manifest_writer *w, size_t start, int r, struct bth_error *error)
{
        if (r < 0) {
                w->out.length = start;
                return out_of_memory(error);
        }
        if (w->out.length >= FLUSH_BYTES)
                r = flush(w);
        if (r < 0) {
                w->failed = r;
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the manifest cannot be written: %s", bth_strerror(r));
        }
        return 0;
}

/* --- header --- */

static int check_header(const struct med_manifest_header *h, enum med_manifest_direction direction,
                        struct bth_error *error)
{
        if (!h->drive_id || h->drive_id[0] == '\0')
                return refuse(error, BTH_REASON_VALUE_MISSING, NULL, "there is no DriveId", "");
        if (h->account_key && h->container_sas)
                return refuse(error, BTH_REASON_VALUE_INVALID, NULL,
                              "a manifest has one credential, not two", "");
        if (direction == MED_MANIFEST_EXPORT && (h->account_key || h->container_sas))
                return refuse(error, BTH_REASON_VALUE_INVALID, NULL,
                              "an export manifest has no credential", "");
        /* Texts of credentials are not named in errors. */
        if ((h->account_key && !xml_can_hold((const char *)h->account_key->data)) ||
            (h->container_sas && !xml_can_hold((const char *)h->container_sas->data)))
                return refuse(error, BTH_REASON_VALUE_INVALID, NULL,
                              "the credential has characters that XML cannot hold", "");
        if (check_text(h->drive_id, "DriveId", NULL, error) < 0)
                return -EINVAL;
        return check_text(h->client_creator, "ClientCreator", NULL, error);
}

static int add_header(struct med_manifest_writer *w, const struct med_manifest_header *h)
{
        struct bth_buf *b = &w->out;
        int r = bth_buf_add_string(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                                      "<DriveManifest Version=\"" MED_MANIFEST_VERSION "\">\n"
                                      "  <Drive>\n");

        if (r == 0)
                r = add_element(b, "    ", "DriveId", h->drive_id);
        if (r == 0 && h->account_key)
                r = add_element(b, "    ", "StorageAccountKey", (const char *)h->account_key->data);
        if (r == 0 && h->container_sas)
                r = add_element(b, "    ", "ContainerSas", (const char *)h->container_sas->data);
        if (r == 0)
                r = add_element(b, "    ", "ClientCreator", h->client_creator);
        return r;
}

static void keep_container(struct med_manifest_writer *w, const struct bth_secret *sas)
{
        const char *text = sas ? (const char *)sas->data : "";
        const size_t n = strcspn(text, "?");

        if (n < sizeof w->container)
                memcpy(w->container, text, n);
}

int med_manifest_writer_new(const struct med_manifest_header *header,
                            enum med_manifest_direction direction, med_manifest_write_fn write,
                            void *userdata, struct med_manifest_writer **ret_writer,
                            struct bth_error *error)
{
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        int r = check_header(header, direction, error);

        if (r < 0)
                return r;
        w = calloc(1, sizeof *w);
        if (!w)
                return out_of_memory(error);
        w->write = write;
        w->userdata = userdata;
        w->direction = direction;
        keep_container(w, header->container_sas);
        if (bth_digest_new(BTH_DIGEST_MD5, &w->md5) < 0 ||
            bth_digest_new(BTH_DIGEST_SHA256, &w->sha256) < 0 ||
            bth_buf_reserve(&w->out, 2 * FLUSH_BYTES) < 0) /* so that no secret is left behind */
                return out_of_memory(error);
        r = add_header(w, header);
        if (r < 0)
                return out_of_memory(error);
        *ret_writer = take_ptr(w);
        return 0;
}

struct med_manifest_writer *med_manifest_writer_free(struct med_manifest_writer *w)
{
        if (w) {
                (void)bth_digest_free(w->md5);
                (void)bth_digest_free(w->sha256);
                bth_wipe(w->out.data, w->out.allocated);
                bth_buf_clear(&w->out);
                free(w);
        }
        return NULL;
}

/* --- lists --- */

/* Is the writer where it must be for this call? */
static int check_place(const struct med_manifest_writer *w, enum place place,
                       struct bth_error *error)
{
        if (w->failed < 0)
                return bth_error_set(error, w->failed, BTH_REASON_FILE_UNWRITABLE,
                                     "the manifest could not be written before");
        if (w->place != place)
                return refuse(error, BTH_REASON_INTERNAL, NULL,
                              "lists and blobs of the manifest are begun and ended out of order",
                              "");
        return 0;
}

static int check_sidecar(const struct med_manifest_sidecar *s, const char *element,
                         const char *blob, struct bth_error *error)
{
        return s ? check_text(s->path, element, blob, error) : 0;
}

int med_manifest_writer_begin_list(struct med_manifest_writer *w, const char *id,
                                   const struct med_manifest_sidecar *metadata,
                                   const struct med_manifest_sidecar *properties,
                                   struct bth_error *error)
{
        const size_t start = w->out.length;
        int r = check_place(w, PLACE_DRIVE, error);

        if (r < 0)
                return r;
        if (w->direction == MED_MANIFEST_EXPORT &&
            ((metadata && metadata->path) || (properties && properties->path)))
                return refuse(error, BTH_REASON_VALUE_INVALID, NULL,
                              "lists of an export manifest have no metadata or properties", "");
        if (check_text(id, "Id", NULL, error) < 0 ||
            check_sidecar(metadata, "MetadataPath", NULL, error) < 0 ||
            check_sidecar(properties, "PropertiesPath", NULL, error) < 0)
                return -EINVAL;
        r = bth_buf_add_string(&w->out, "    <BlobList");
        if (r == 0 && id)
                r = bth_buf_add_string(&w->out, " Id=\"");
        if (r == 0 && id)
                r = bth_buf_add_xml(&w->out, id);
        if (r == 0)
                r = bth_buf_add_string(&w->out, id ? "\">\n" : ">\n");
        if (r == 0)
                r = add_sidecar(&w->out, "      ", "MetadataPath", metadata);
        if (r == 0)
                r = add_sidecar(&w->out, "      ", "PropertiesPath", properties);
        r = settle(w, start, r, error);
        if (r < 0)
                return r;
        w->place = PLACE_LIST;
        w->n_lists++;
        return 0;
}

int med_manifest_writer_end_list(struct med_manifest_writer *w, struct bth_error *error)
{
        const size_t start = w->out.length;
        int r = check_place(w, PLACE_LIST, error);

        if (r < 0)
                return r;
        r = settle(w, start, bth_buf_add_string(&w->out, "    </BlobList>\n"), error);
        if (r == 0)
                w->place = PLACE_DRIVE;
        return r;
}

/* --- blobs --- */

struct first_error {
        enum med_manifest_finding finding;
        char detail[160];
};

/* Doubts that a reader lives with, and a writer has no reason to cause. */
static bool is_refused(enum med_manifest_finding f)
{
        switch (f) {
        case MED_MANIFEST_FINDING_LARGE_BLOB_WITHOUT_IDS:
        case MED_MANIFEST_FINDING_BLOCK_ID_NOT_HASH:
        case MED_MANIFEST_FINDING_BLOB_NAME_LONG:
        case MED_MANIFEST_FINDING_FILE_PATH_DOUBTFUL:
                return true;
        default:
                return med_manifest_finding_severity(f) == MED_SEVERITY_ERROR;
        }
}

static void keep_error(void *userdata, enum med_manifest_finding f, uint64_t line,
                       const char *detail)
{
        struct first_error *first = userdata;

        if (first->finding >= 0 || !is_refused(f))
                return;
        first->finding = f;
        (void)snprintf(first->detail, sizeof first->detail, "%s", detail);
}

/* What a reader would call an error, and what is not said twice elsewhere. */
static int check_blob(const struct med_manifest_writer *w, const struct med_manifest_blob *b,
                      struct bth_error *error)
{
        struct first_error first = { .finding = _MED_MANIFEST_FINDING_INVALID };

        if (b->azure_file || b->kind == MED_MANIFEST_FILE)
                return refuse(error, BTH_REASON_UNSUPPORTED, b->blob_path,
                              "the format of manifests for Azure Files is not known", "");
        med_manifest_check_names(b, w->container, keep_error, &first);
        if (med_manifest_check_ranges(b, w->direction, keep_error, &first) < 0)
                return out_of_memory(error);
        if (first.finding >= 0) {
                (void)refuse(error, BTH_REASON_VALUE_INVALID, b->blob_path,
                             med_manifest_finding_sentence(first.finding), first.detail);
                bth_error_advise(error, "%s", med_manifest_finding_advice(first.finding));
                return -EINVAL;
        }
        if (w->direction == MED_MANIFEST_EXPORT ? b->disposition_given : b->snapshot != NULL)
                return refuse(error, BTH_REASON_VALUE_INVALID, b->blob_path,
                              w->direction == MED_MANIFEST_EXPORT
                                      ? "an export manifest has no ImportDisposition"
                                      : "an import manifest has no Snapshot",
                              "");
        if (check_text(b->blob_path, "BlobPath", b->blob_path, error) < 0 ||
            check_text(b->file_path, "FilePath", b->blob_path, error) < 0 ||
            check_text(b->client_data, "ClientData", b->blob_path, error) < 0 ||
            check_text(b->snapshot, "Snapshot", b->blob_path, error) < 0 ||
            check_sidecar(&b->metadata, "MetadataPath", b->blob_path, error) < 0)
                return -EINVAL;
        return check_sidecar(&b->properties, "PropertiesPath", b->blob_path, error);
}

/* Ids need no escape: they are base64. */
static int add_range(struct bth_buf *out, const struct med_manifest_blob *b, size_t i)
{
        const struct med_manifest_range *range = &b->ranges[i];
        const char *id = med_manifest_range_id(b, i);
        char hash[2 * BTH_MD5_BYTES + 1];

        return bth_buf_add_format(
                out,
                "          <%s Offset=\"%" PRIu64 "\" Length=\"%" PRIu64 "\"%s%s%s Hash=\"%s\"/>\n",
                b->kind == MED_MANIFEST_PAGE ? "PageRange" : "Block", range->offset_bytes,
                range->length_bytes, id ? " Id=\"" : "", id ? id : "", id ? "\"" : "",
                bth_hex_encode(range->md5, sizeof range->md5, hash));
}

static int add_ranges(struct bth_buf *out, const struct med_manifest_blob *b)
{
        const char *name = b->kind == MED_MANIFEST_PAGE ? "PageRangeList" : "BlockList";
        int r;

        if (b->n_ranges == 0)
                return bth_buf_add_format(out, "        <%s/>\n", name);
        r = bth_buf_add_format(out, "        <%s>\n", name);
        for (size_t i = 0; r == 0 && i < b->n_ranges; i++)
                r = add_range(out, b, i);
        return r < 0 ? r : bth_buf_add_format(out, "        </%s>\n", name);
}

static int add_blob(struct bth_buf *out, const struct med_manifest_blob *b)
{
        static const char indent[] = "        ";
        int r = bth_buf_add_string(out, "      <Blob>\n");

        if (r == 0)
                r = add_element(out, indent, "BlobPath", b->blob_path);
        if (r == 0)
                r = add_element(out, indent, "FilePath", b->file_path);
        if (r == 0)
                r = add_element(out, indent, "ClientData", b->client_data);
        if (r == 0)
                r = add_element(out, indent, "Snapshot", b->snapshot);
        if (r == 0)
                r = bth_buf_add_format(out, "%s<Length>%" PRIu64 "</Length>\n", indent,
                                       b->length_bytes);
        if (r == 0 && b->disposition_given)
                r = add_element(out, indent, "ImportDisposition",
                                bth_disposition_to_string(b->disposition));
        if (r == 0)
                r = add_ranges(out, b);
        if (r == 0)
                r = add_sidecar(out, indent, "MetadataPath", &b->metadata);
        if (r == 0)
                r = add_sidecar(out, indent, "PropertiesPath", &b->properties);
        return r < 0 ? r : bth_buf_add_string(out, "      </Blob>\n");
}

int med_manifest_writer_blob(struct med_manifest_writer *w, const struct med_manifest_blob *b,
                             struct bth_error *error)
{
        const size_t start = w->out.length;
        int r = check_place(w, PLACE_LIST, error);

        if (r == 0)
                r = check_blob(w, b, error);
        return r < 0 ? r : settle(w, start, add_blob(&w->out, b), error);
}

/* --- the end --- */

int med_manifest_writer_end(struct med_manifest_writer *w, uint64_t *ret_length_bytes,
                            uint8_t *ret_md5, uint8_t *ret_sha256, struct bth_error *error)
{
        uint8_t md5[BTH_MD5_BYTES], sha256[BTH_SHA256_BYTES];
        const size_t start = w->out.length;
        int r = check_place(w, PLACE_DRIVE, error);

        if (r < 0)
                return r;
        if (w->n_lists == 0)
                return refuse(error, BTH_REASON_VALUE_MISSING, NULL,
                              "a manifest has at least one list of blobs", "");
        r = settle(w, start, bth_buf_add_string(&w->out, "  </Drive>\n</DriveManifest>\n"), error);
        if (r < 0)
                return r;
        r = flush(w);
        if (r == 0)
                r = bth_digest_finish(w->md5, md5);
        if (r == 0)
                r = bth_digest_finish(w->sha256, sha256);
        if (r < 0) {
                w->failed = r;
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the manifest cannot be written: %s", bth_strerror(r));
        }
        w->place = PLACE_ENDED;
        if (ret_length_bytes)
                *ret_length_bytes = w->length_bytes;
        if (ret_md5)
                memcpy(ret_md5, md5, sizeof md5);
        if (ret_sha256)
                memcpy(ret_sha256, sha256, sizeof sha256);
        return 0;
}
