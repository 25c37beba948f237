/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-write - what is written is read again as it was, and nothing wrong is written.
 * The cases are random; a failure prints the seed, and BERTH_TEST_SEED repeats it. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "tests/lib/manifest-pass.h"

#define ROUNDS     300
#define RANGES_MAX 40u
#define TEXT_MAX   400u

/* --- random manifests --- */

static uint64_t seed;

static uint64_t next(uint64_t below)
{
        static uint64_t state, started;
        uint64_t z;

        if (started != seed) {
                started = seed;
                state = seed;
        }
        z = state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return (z ^ z >> 31) % below;
}

static bool one_in(uint64_t n)
{
        return next(n) == 0;
}

static void random_md5(uint8_t *md5)
{
        for (unsigned i = 0; i < BTH_MD5_BYTES; i++)
                md5[i] = (uint8_t)next(256);
}

/* Adds characters that XML, names and printers treat in special ways. */
static void random_text(char *out, const char *const *pieces, size_t n_pieces)
{
        char *end = out;

        for (size_t n = 1 + next(20); n > 0; n--)
                end = stpncpy(end, pieces[next(n_pieces)], 8);
        *end = '\0';
}

static const char *const name_pieces[] = {
        "a",
        "B",
        "7",
        "-",
        "_",
        " ",
        "&",
        "<",
        ">",
        "\"",
        "'",
        "]]>",
        "&amp;",
        "\t",
        "\n",
        "%",
        "\xc3\xa4",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "(2)",
        ".x",
};
static const char *const path_pieces[] = {
        "a",   "B", "7", "-", " ", "&", "'", ";", "]]", "&amp;", "\xc3\xa4", "\xf0\x9f\x98\x80",
        "\\b", "z",
};

struct made {
        struct med_manifest_blob blob;
        struct med_manifest_list list;
        struct med_manifest_range ranges[RANGES_MAX];
        char ids[RANGES_MAX * 96];
        char blob_path[TEXT_MAX], file_path[TEXT_MAX], client_data[TEXT_MAX], metadata[TEXT_MAX],
                properties[TEXT_MAX];
};

static void make_path(char *out, const char *start, const char *end, const char *const *pieces,
                      size_t n_pieces)
{
        char middle[TEXT_MAX];

        random_text(middle, pieces, n_pieces);
        (void)snprintf(out, TEXT_MAX, "%s%s%s", start, middle, end);
}

static void make_id(struct made *m, uint32_t i, unsigned scheme, uint32_t *at)
{
        struct med_manifest_range *range = &m->ranges[i];
        uint8_t counter[MED_MANIFEST_BLOCK_ID_BYTES] = { (uint8_t)i, (uint8_t)(i >> 8) };

        if (scheme == 0)
                return;
        range->id = *at;
        if (scheme == 1) {
                memcpy(m->ids + *at, "MD5/", 4);
                (void)bth_base64_encode(range->md5, sizeof range->md5, m->ids + *at + 4);
        } else {
                (void)bth_base64_encode(counter, scheme == 2 ? 4 : sizeof counter, m->ids + *at);
        }
        *at += (uint32_t)strlen(m->ids + *at) + 1;
}

static void make_blocks(struct made *m)
{
        const unsigned scheme = (unsigned)next(4);
        uint32_t at = 0;

        m->blob.kind = MED_MANIFEST_BLOCK;
        m->blob.n_ranges = next(RANGES_MAX + 1);
        for (uint32_t i = 0; i < m->blob.n_ranges; i++) {
                struct med_manifest_range *range = &m->ranges[i];

                range->id = MED_MANIFEST_NO_ID;
                range->offset_bytes = m->blob.length_bytes;
                range->length_bytes = 1 + next(scheme == 0 ? 100000 : MED_MANIFEST_BLOCK_BYTES);
                m->blob.length_bytes += range->length_bytes;
                random_md5(range->md5);
                make_id(m, i, scheme, &at);
        }
}

static void make_pages(struct made *m)
{
        m->blob.kind = MED_MANIFEST_PAGE;
        m->blob.n_ranges = next(RANGES_MAX + 1);
        for (uint32_t i = 0; i < m->blob.n_ranges; i++) {
                struct med_manifest_range *range = &m->ranges[i];

                range->id = MED_MANIFEST_NO_ID;
                range->offset_bytes = m->blob.length_bytes + 512 * next(3);
                range->length_bytes = 512 * (1 + next(8192));
                m->blob.length_bytes = range->offset_bytes + range->length_bytes;
                random_md5(range->md5);
        }
        m->blob.length_bytes += 512 * next(2);
}

static void make_sidecar(struct med_manifest_sidecar *s, char *path)
{
        if (one_in(3)) {
                make_path(path, "\\m", "m", path_pieces, ARRAY_SIZE(path_pieces));
                s->path = path;
                random_md5(s->md5);
        }
}

static void make_blob(struct made *m, enum med_manifest_direction direction)
{
        memset(m, 0, sizeof *m);
        m->blob.blob_path = m->blob_path;
        m->blob.file_path = m->file_path;
        m->blob.ranges = m->ranges;
        m->blob.ids = m->ids;
        make_path(m->blob_path, "attic/n", "n", name_pieces, ARRAY_SIZE(name_pieces));
        make_path(m->file_path, "\\f", "f", path_pieces, ARRAY_SIZE(path_pieces));
        if (one_in(3)) {
                make_path(m->client_data, "c", "c", name_pieces, ARRAY_SIZE(name_pieces));
                m->blob.client_data = m->client_data;
        }
        if (direction == MED_MANIFEST_EXPORT && one_in(2))
                m->blob.snapshot = "2031-04-09T07:15:02.1180000Z";
        if (direction == MED_MANIFEST_IMPORT && one_in(2)) {
                m->blob.disposition_given = true;
                m->blob.disposition = (enum bth_disposition)next(_BTH_DISPOSITION_MAX);
        }
        if (one_in(3))
                make_pages(m);
        else
                make_blocks(m);
        make_sidecar(&m->blob.metadata, m->metadata);
        make_sidecar(&m->blob.properties, m->properties);
}

/* --- comparing --- */

static void assert_same_text(const char *a, const char *b)
{
        if (a && b)
                assert_string_equal(a, b);
        else
                assert_true(!a && !b);
}

static void assert_same_sidecar(const struct med_manifest_sidecar *a,
                                const struct med_manifest_sidecar *b)
{
        assert_same_text(a->path, b->path);
        if (a->path)
                assert_memory_equal(a->md5, b->md5, sizeof a->md5);
}

static void assert_same_blob(const struct med_manifest_blob *a, const struct med_manifest_blob *b)
{
        assert_same_text(a->blob_path, b->blob_path);
        assert_same_text(a->file_path, b->file_path);
        assert_same_text(a->client_data, b->client_data);
        assert_same_text(a->snapshot, b->snapshot);
        assert_true(a->length_bytes == b->length_bytes);
        assert_int_equal(a->disposition_given, b->disposition_given);
        if (a->disposition_given)
                assert_int_equal(a->disposition, b->disposition);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->n_ranges, b->n_ranges);
        for (size_t i = 0; i < a->n_ranges; i++) {
                assert_true(a->ranges[i].offset_bytes == b->ranges[i].offset_bytes);
                assert_true(a->ranges[i].length_bytes == b->ranges[i].length_bytes);
                assert_memory_equal(a->ranges[i].md5, b->ranges[i].md5, BTH_MD5_BYTES);
                assert_same_text(med_manifest_range_id(a, i), med_manifest_range_id(b, i));
        }
        assert_same_sidecar(&a->metadata, &b->metadata);
        assert_same_sidecar(&a->properties, &b->properties);
        assert_int_equal(b->n_errors, 0);
}

/* --- round trips --- */

static int write_to_buffer(void *userdata, const void *data, size_t n)
{
        return bth_buf_add(userdata, data, n);
}

/* Writes blobs, ending lists here and there; checks what the writer says about its output. */
static void write_all(struct bth_buf *out, const struct med_manifest_header *header,
                      enum med_manifest_direction direction, const struct med_manifest_blob **blobs,
                      const struct med_manifest_list *const *lists, size_t n)
{
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        uint8_t md5[BTH_MD5_BYTES], sha256[BTH_SHA256_BYTES], expected[BTH_SHA256_BYTES];
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t length;
        char text[1024];

        assert_int_equal(med_manifest_writer_new(header, direction, write_to_buffer, out, &w, &e),
                         0);
        for (size_t i = 0; i < n; i++) {
                const struct med_manifest_list *list = lists[i];

                if (i == 0 || list != lists[i - 1]) {
                        if (i > 0)
                                assert_int_equal(med_manifest_writer_end_list(w, &e), 0);
                        assert_int_equal(med_manifest_writer_begin_list(w, list->id,
                                                                        &list->metadata,
                                                                        &list->properties, &e),
                                         0);
                }
                if (med_manifest_writer_blob(w, blobs[i], &e) != 0)
                        fail_msg("%s", bth_error_to_string(&e, text, sizeof text));
        }
        assert_int_equal(med_manifest_writer_end_list(w, &e), 0);
        assert_int_equal(med_manifest_writer_end(w, &length, md5, sha256, &e), 0);
        assert_true(length == out->length);
        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, out->data, out->length, expected), 0);
        assert_memory_equal(md5, expected, sizeof md5);
        assert_int_equal(bth_digest_of(BTH_DIGEST_SHA256, out->data, out->length, expected), 0);
        assert_memory_equal(sha256, expected, sizeof sha256);
}

static void round_trip(enum med_manifest_direction direction)
{
        enum { N = 8 };
        struct made *made = calloc(N, sizeof *made);
        const struct med_manifest_blob *blobs[N], *b;
        const struct med_manifest_list *lists[N];
        _cleanup_(bth_secret_freep) struct bth_secret *sas = NULL;
        struct med_manifest_header header = { .drive_id = (char[]){ "QX7" } };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        _cleanup_buf_ struct bth_buf first = BTH_BUF_INIT, second = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;
        char list_path[TEXT_MAX];
        struct pass p;

        assert_non_null(made);
        assert_int_equal(bth_secret_new_copy("attic?sv=2031-01-01&sp=rwd&sig=<&>", 34, &sas), 0);
        if (direction == MED_MANIFEST_IMPORT)
                header.container_sas = sas;
        header.client_creator = one_in(2) ? (char[]){ "tool <1> & \"2\"" } : NULL;
        for (size_t i = 0; i < N; i++) {
                make_blob(&made[i], direction);
                made[i].list.id = one_in(2) ? "nightly-7-<0>" : NULL;
                if (direction == MED_MANIFEST_IMPORT)
                        make_sidecar(&made[i].list.metadata, list_path);
                blobs[i] = &made[i].blob;
                lists[i] = i > 0 && one_in(2) ? lists[i - 1] : &made[i].list;
                if (made[i].list.metadata
                            .path) /* one buffer: what the last one put in is for all */
                        made[i].list.metadata.path = "\\list & default";
        }
        write_all(&first, &header, direction, blobs, lists, N);

        pass_init(&p);
        p.options.direction = direction;
        p.options.find_doubles = false;
        assert_int_equal(bth_source_new_memory(first.data, first.length, &source), 0);
        assert_int_equal(med_manifest_reader_new(source, &p.options, NULL, &r), 0);
        for (size_t i = 0; i < N; i++) {
                if (med_manifest_next(r, &b, &e) != 1)
                        fail_msg("%s\n%s", e.sentence, first.data);
                assert_same_blob(blobs[i], b);
                assert_same_text(lists[i]->id, b->list->id);
                assert_same_sidecar(&lists[i]->metadata, &b->list->metadata);
        }
        assert_int_equal(med_manifest_next(r, &b, &e), 0);
        assert_true(med_manifest_reader_summary(r)->n_errors == 0);
        assert_same_text(med_manifest_reader_summary(r)->header.client_creator,
                         header.client_creator);
        assert_string_equal(med_manifest_reader_summary(r)->header.version, "2014-11-01");
        if (direction == MED_MANIFEST_IMPORT)
                assert_true(bth_secret_equal(sas,
                                             med_manifest_reader_summary(r)->header.container_sas));

        /* The same again gives the same bytes. */
        write_all(&second, &header, direction, blobs, lists, N);
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.data, second.data, first.length);
        pass_clear(&p);
        free(made);
}

static void test_round_trip(void **state)
{
        const char *given = getenv("BERTH_TEST_SEED");

        if (!given || bth_parse_u64(given, &seed) < 0)
                seed = bth_now_realtime_usec();
        print_message("BERTH_TEST_SEED=%" PRIu64 "\n", seed);
        for (unsigned i = 0; i < ROUNDS; i++)
                round_trip(i % 2 == 0 ? MED_MANIFEST_IMPORT : MED_MANIFEST_EXPORT);
}

/* --- the exact text --- */

static void test_text(void **state)
{
        static const char expected[] =
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                "<DriveManifest Version=\"2014-11-01\">\n"
                "  <Drive>\n"
                "    <DriveId>QX7TESTDRV01</DriveId>\n"
                "    <ClientCreator>our-tool 0.1</ClientCreator>\n"
                "    <BlobList Id=\"nightly-7-0\">\n"
                "      <PropertiesPath Hash=\"40CFDEADAA82F319B5A74B43C360AC2D\">\\p"
                "</PropertiesPath>\n"
                "      <Blob>\n"
                "        <BlobPath>attic/a &amp; b</BlobPath>\n"
                "        <FilePath>\\a</FilePath>\n"
                "        <Length>4</Length>\n"
                "        <ImportDisposition>no-overwrite</ImportDisposition>\n"
                "        <BlockList>\n"
                "          <Block Offset=\"0\" Length=\"4\" Id=\"MD5/ywjKSnu1+Wg8GRM6hIcspw==\" "
                "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>\n"
                "        </BlockList>\n"
                "      </Blob>\n"
                "    </BlobList>\n"
                "  </Drive>\n"
                "</DriveManifest>\n";
        struct med_manifest_range range = { .length_bytes = 4 };
        struct med_manifest_list list = { .id = "nightly-7-0", .properties = { .path = "\\p" } };
        const struct med_manifest_blob blob = {
                .blob_path = "attic/a & b",
                .file_path = "\\a",
                .length_bytes = 4,
                .disposition_given = true,
                .disposition = BTH_DISPOSITION_NO_OVERWRITE,
                .kind = MED_MANIFEST_BLOCK,
                .ranges = &range,
                .n_ranges = 1,
                .ids = "MD5/ywjKSnu1+Wg8GRM6hIcspw==",
        };
        const struct med_manifest_blob *blobs[] = { &blob };
        const struct med_manifest_list *lists[] = { &list };
        const struct med_manifest_header header = {
                .drive_id = (char[]){ "QX7TESTDRV01" },
                .client_creator = (char[]){ "our-tool 0.1" },
        };
        _cleanup_buf_ struct bth_buf out = BTH_BUF_INIT;

        assert_int_equal(bth_hex_decode("CB08CA4A7BB5F9683C19133A84872CA7", 32, range.md5), 0);
        assert_int_equal(
                bth_hex_decode("40cfdeadaa82f319b5a74b43c360ac2d", 32, list.properties.md5), 0);
        write_all(&out, &header, MED_MANIFEST_IMPORT, blobs, lists, 1);
        assert_string_equal(out.data, expected);
}

/* --- what is refused --- */

static struct med_manifest_range good_range;

static struct med_manifest_blob good_blob(void)
{
        good_range = (struct med_manifest_range){ .length_bytes = 4, .id = MED_MANIFEST_NO_ID };
        return (struct med_manifest_blob){
                .blob_path = "attic/a",
                .file_path = "\\a",
                .length_bytes = 4,
                .kind = MED_MANIFEST_BLOCK,
                .ranges = &good_range,
                .n_ranges = 1,
                .ids = "",
        };
}

static void assert_refused(struct med_manifest_writer *w, const struct med_manifest_blob *b,
                           const char *sentence)
{
        struct bth_error e = BTH_ERROR_INIT;
        char escaped[256];

        assert_int_equal(med_manifest_writer_blob(w, b, &e), -EINVAL);
        assert_string_equal(e.sentence, sentence);
        assert_string_equal(
                e.blob, bth_escape(b->blob_path, strlen(b->blob_path), escaped, sizeof escaped));
}

static void test_refused(void **state)
{
        const struct med_manifest_header header = { .drive_id = (char[]){ "QX7" } };
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        _cleanup_buf_ struct bth_buf out = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_manifest_blob b = good_blob();

        assert_int_equal(med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_to_buffer,
                                                 &out, &w, &e),
                         0);
        assert_int_equal(med_manifest_writer_blob(w, &b, &e), -EINVAL); /* outside a list */
        assert_int_equal(med_manifest_writer_end_list(w, &e), -EINVAL);
        assert_int_equal(med_manifest_writer_end(w, NULL, NULL, NULL, &e), -EINVAL);
        assert_int_equal(med_manifest_writer_begin_list(w, NULL, NULL, NULL, &e), 0);
        assert_int_equal(med_manifest_writer_begin_list(w, NULL, NULL, NULL, &e), -EINVAL);

        b = good_blob();
        b.blob_path = "attic/bell\x07";
        assert_refused(w, &b, "a text has characters that XML cannot hold: BlobPath");
        b = good_blob();
        b.client_data = "\xff";
        assert_refused(w, &b, "a text has characters that XML cannot hold: ClientData");
        b = good_blob();
        b.client_data = "\xef\xbf\xbf";
        assert_refused(w, &b, "a text has characters that XML cannot hold: ClientData");
        b = good_blob();
        b.blob_path = "Attic/a";
        assert_refused(w, &b,
                       "the container's name is not allowed: the container 'Attic' must be lower "
                       "case");
        b = good_blob();
        b.file_path = "a";
        assert_refused(w, &b,
                       "FilePath is not a path Windows can open: the path 'a' must begin with a "
                       "backslash and name a file");
        b = good_blob();
        b.length_bytes = 5;
        assert_refused(w, &b,
                       "the blocks do not add up to the Length of the blob: the blocks have 4 "
                       "bytes, the blob 5");
        b = good_blob();
        b.kind = MED_MANIFEST_NONE;
        b.n_ranges = 0;
        assert_refused(w, &b, "the entry has neither BlockList nor PageRangeList");
        b = good_blob();
        b.snapshot = "2031-04-09T07:15:02.1180000Z";
        assert_refused(w, &b, "an import manifest has no Snapshot");
        b = good_blob();
        b.azure_file = true;
        assert_refused(w, &b, "the format of manifests for Azure Files is not known");
        b = good_blob();
        b.length_bytes = good_range.length_bytes = MED_MANIFEST_IDS_FROM_BYTES + 1;
        assert_refused(w, &b, "a blob of more than 64 MiB has no block ids");

        /* After all that the writer still works, and nothing of it was written. */
        b = good_blob();
        assert_int_equal(med_manifest_writer_blob(w, &b, &e), 0);
        assert_int_equal(med_manifest_writer_end(w, NULL, NULL, NULL, &e), -EINVAL);
        assert_int_equal(med_manifest_writer_end_list(w, &e), 0);
        assert_int_equal(med_manifest_writer_end(w, NULL, NULL, NULL, &e), 0);
        assert_int_equal(med_manifest_writer_end(w, NULL, NULL, NULL, &e), -EINVAL);
        assert_null(strstr(out.data, "Attic"));
        assert_null(strstr(out.data, "bell"));
        assert_non_null(strstr(out.data, "</DriveManifest>\n"));
}

static void test_refused_header(void **state)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL, *bad = NULL;
        struct med_manifest_header header = { 0 };
        struct med_manifest_writer *w = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(bth_secret_new_copy("bm90LXJlYWw=", 12, &key), 0);
        assert_int_equal(bth_secret_new_copy("hush\x01hush", 9, &bad), 0);
        assert_int_equal(med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_to_buffer,
                                                 NULL, &w, &e),
                         -EINVAL);
        header.drive_id = (char[]){ "QX7" };
        header.account_key = header.container_sas = key;
        assert_int_equal(med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_to_buffer,
                                                 NULL, &w, &e),
                         -EINVAL);
        header.container_sas = NULL;
        assert_int_equal(med_manifest_writer_new(&header, MED_MANIFEST_EXPORT, write_to_buffer,
                                                 NULL, &w, &e),
                         -EINVAL);
        header.account_key = bad;
        assert_int_equal(med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_to_buffer,
                                                 NULL, &w, &e),
                         -EINVAL);
        assert_null(strstr(e.sentence, "hush"));
        assert_null(w);
}

static int disk_full(void *userdata, const void *data, size_t n)
{
        return -ENOSPC;
}

static void test_disk_full(void **state)
{
        const struct med_manifest_header header = { .drive_id = (char[]){ "QX7" } };
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_manifest_blob b = good_blob();
        int r = 0;

        assert_int_equal(
                med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, disk_full, NULL, &w, &e), 0);
        assert_int_equal(med_manifest_writer_begin_list(w, NULL, NULL, NULL, &e), 0);
        for (unsigned i = 0; r == 0 && i < 100000; i++)
                r = med_manifest_writer_blob(w, &b, &e);
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(e.reason, BTH_REASON_FILE_UNWRITABLE);
        assert_int_equal(med_manifest_writer_end_list(w, &e), -ENOSPC);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip), cmocka_unit_test(test_text),
                cmocka_unit_test(test_refused),    cmocka_unit_test(test_refused_header),
                cmocka_unit_test(test_disk_full),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
