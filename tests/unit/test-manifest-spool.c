/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-spool - a drive is read once, nothing is believed before its hash, and bombs end soon
 * and small. Source: import-export specification 2.1, 2.9. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/io.h"
#include "media/manifest-spool.h"
#include "tests/lib/manifest-pass.h"

#define HEAD "<DriveManifest Version=\"2014-11-01\">\n<Drive>\n<DriveId>QX7</DriveId>\n"
#define TAIL "</Drive>\n</DriveManifest>\n"
#define BLOB                                                                                       \
        "<Blob><BlobPath>attic/a</BlobPath><FilePath>\\a</FilePath><Length>4</Length><BlockList>"  \
        "<Block Offset=\"0\" Length=\"4\" Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/></BlockList>" \
        "</Blob>"

static const char honest[] = HEAD "<BlobList>" BLOB "</BlobList>" TAIL;

/* --- a drive that changes its mind --- */

struct liar {
        struct bth_source base;
        const char *first, *later; /* of equal length: what each byte is at first, and then */
        uint8_t *reads;            /* of each byte */
        uint64_t fails_at;         /* UINT64_MAX: never */
};

static int liar_read(struct bth_source *source, uint64_t offset, void *buffer, size_t n)
{
        struct liar *l = (struct liar *)source;

        for (size_t i = 0; i < n; i++) {
                if (offset + i == l->fails_at)
                        return -EIO;
                ((char *)buffer)[i] =
                        l->reads[offset + i]++ == 0 ? l->first[offset + i] : l->later[offset + i];
        }
        return 0;
}

static void liar_free(struct bth_source *source)
{
        free(((struct liar *)source)->reads);
}

static void liar_init(struct liar *l, const char *first, const char *later)
{
        static const struct bth_source_ops ops = { .read = liar_read, .free = liar_free };
        const size_t n = strlen(first);

        *l = (struct liar){
                .base = { .ops = &ops,
                          .size_bytes = n,
                          .logical_block_bytes = 1,
                          .memory_align_bytes = 1 },
                .first = first,
                .later = later,
                .reads = calloc(n + 1, 1),
                .fails_at = UINT64_MAX,
        };
        assert_non_null(l->reads);
        assert_int_equal(strlen(later), n);
}

static char *hash_of(enum bth_digest_kind kind, const char *text, char *out)
{
        uint8_t hash[BTH_DIGEST_MAX_BYTES];

        assert_int_equal(bth_digest_of(kind, text, strlen(text), hash), 0);
        return bth_hex_encode(hash, bth_digest_size(kind), out);
}

static void test_read_once(void **state)
{
        char evil[sizeof honest], hash[2 * BTH_DIGEST_MAX_BYTES + 1];
        struct med_manifest_spool_options options = { .object = OBJECT };
        struct med_manifest_spool *spool = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        enum bth_drive_status status;
        struct liar drive;
        struct pass p;

        memcpy(evil, honest, sizeof evil);
        memcpy(strstr(evil, "attic/a"), "cellar/", 7);
        liar_init(&drive, honest, evil);
        options.hash = hash_of(BTH_DIGEST_MD5, honest, hash);
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, &status, &e), 0);
        assert_int_equal(status, BTH_DRIVE_STATUS_COMPLETED);

        /* Two passes see what was hashed; the drive is asked for each byte once. */
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
                const struct med_manifest_blob *b;

                pass_init(&p);
                pass_run_on(&p, med_manifest_spool_source(spool));
                assert_int_equal(p.result, 0);
                assert_int_equal(med_manifest_reader_new(med_manifest_spool_source(spool),
                                                         &p.options, p.summary, &r),
                                 0);
                assert_int_equal(med_manifest_next(r, &b, &e), 1);
                assert_string_equal(b->blob_path, "attic/a");
                pass_clear(&p);
        }
        for (size_t i = 0; i < sizeof honest - 1; i++)
                assert_int_equal(drive.reads[i], 1);
        spool = med_manifest_spool_free(spool);
        (void)bth_source_free(&drive.base);
}

static void assert_spooled(const char *text, const char *hash, int result,
                           enum bth_drive_status expected)
{
        struct med_manifest_spool_options options = { .object = OBJECT, .hash = hash };
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        enum bth_drive_status status;
        struct liar drive;

        liar_init(&drive, text, text);
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, &status, &e),
                         result);
        assert_int_equal(status, expected);
        assert_true((result == 0) == (spool != NULL));
        if (result < 0) {
                assert_string_equal(e.object, OBJECT);
                assert_true(e.sentence[0] != '\0');
        }
        (void)bth_source_free(&drive.base);
}

static void test_hash(void **state)
{
        char hash[2 * BTH_DIGEST_MAX_BYTES + 1], changed[140];

        (void)hash_of(BTH_DIGEST_MD5, honest, hash);
        assert_spooled(honest, hash, 0, BTH_DRIVE_STATUS_COMPLETED);
        (void)snprintf(changed, sizeof changed, " %s\r\n", hash);
        assert_spooled(honest, changed, 0, BTH_DRIVE_STATUS_COMPLETED);
        for (char *c = changed; *c; c++)
                if (*c >= 'A' && *c <= 'F')
                        *c = (char)(*c - 'A' + 'a');
        assert_spooled(honest, changed, 0, BTH_DRIVE_STATUS_COMPLETED);
        (void)hash_of(BTH_DIGEST_SHA256, honest, hash);
        assert_spooled(honest, hash, 0, BTH_DRIVE_STATUS_COMPLETED);
        hash[63] = hash[63] == '0' ? '1' : '0';
        assert_spooled(honest, hash, -EBADMSG, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled(honest, "CB08CA4A7BB5F9683C19133A84872CA7", -EBADMSG,
                       BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled(honest, "CB08", -EINVAL, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled(honest, "", -EINVAL, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled(honest, NULL, -EINVAL, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled(honest, "GB08CA4A7BB5F9683C19133A84872CA7", -EINVAL,
                       BTH_DRIVE_STATUS_MANIFEST_CORRUPTED);
        assert_spooled("", "D41D8CD98F00B204E9800998ECF8427E", 0, BTH_DRIVE_STATUS_COMPLETED);
}

static void test_hash_mismatch_text(void **state)
{
        struct med_manifest_spool_options options = {
                .object = OBJECT,
                .hash = "CB08CA4A7BB5F9683C19133A84872CA7",
        };
        struct med_manifest_spool *spool = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        char text[2048];
        struct liar drive;
        struct pass p;

        pass_init(&p);
        options.findings = &p.findings;
        liar_init(&drive, "EFGH", "EFGH");
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, NULL, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_HASH_MISMATCH);
        assert_string_equal(bth_error_to_string(&e, text, sizeof text), OBJECT
                            ": the manifest does not have the hash of the journal: that says "
                            "CB08CA4A7BB5F9683C19133A84872CA7, the file has "
                            "17DD6919F5930EA8BD58FECBAFD7EB7B. check that journal and drive belong "
                            "together; prepare the drive again.");
        assert_string_equal(
                heard_text(&p.heard),
                OBJECT ": error: the manifest does not have the hash of the journal: the journal "
                       "says CB08CA4A7BB5F9683C19133A84872CA7, the file has "
                       "17DD6919F5930EA8BD58FECBAFD7EB7B. check that journal and drive belong "
                       "together; prepare the drive again. [manifest-hash-mismatch]\n");
        pass_clear(&p);
        (void)bth_source_free(&drive.base);
}

static void test_drive_fails(void **state)
{
        char hash[2 * BTH_DIGEST_MAX_BYTES + 1];
        struct med_manifest_spool_options options = {
                .object = OBJECT,
                .hash = hash_of(BTH_DIGEST_MD5, honest, hash),
        };
        struct med_manifest_spool *spool = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        enum bth_drive_status status;
        struct liar drive;

        liar_init(&drive, honest, honest);
        drive.fails_at = 100;
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, &status, &e), -EIO);
        assert_int_equal(status, BTH_DRIVE_STATUS_READ_MANIFEST_FAILED);
        assert_int_equal(e.reason, BTH_REASON_DRIVE_READ_ERROR);
        assert_null(spool);
        (void)bth_source_free(&drive.base);
}

/* The spool file may come from outside, and must then be empty. */
static void test_given_file(void **state)
{
        char hash[2 * BTH_DIGEST_MAX_BYTES + 1];
        struct med_manifest_spool_options options = {
                .object = OBJECT,
                .hash = hash_of(BTH_DIGEST_MD5, honest, hash),
        };
        struct med_manifest_spool *spool = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct liar drive;
        char text[sizeof honest];

        liar_init(&drive, honest, honest);
        assert_int_equal(bth_open_unlinked(NULL, &options.fd), 0);
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, NULL, &e), 0);
        assert_true(med_manifest_spool_source(spool)->size_bytes == sizeof honest - 1);
        assert_int_equal(
                bth_source_read(med_manifest_spool_source(spool), 0, text, sizeof honest - 1), 0);
        assert_memory_equal(text, honest, sizeof honest - 1);
        spool = med_manifest_spool_free(spool);

        assert_int_equal(bth_open_unlinked(NULL, &options.fd), 0);
        assert_int_equal(bth_pwrite_full(options.fd, "x", 1, 5000), 0);
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, NULL, &e), -EEXIST);
        (void)bth_source_free(&drive.base);
}

static void test_too_large(void **state)
{
        struct med_manifest_spool_options options = {
                .object = OBJECT,
                .hash = "CB08CA4A7BB5F9683C19133A84872CA7",
                .max_bytes = sizeof honest - 2,
        };
        struct med_manifest_spool *spool = NULL;
        struct synthetic huge = { .pattern = "xxxxxxxx" };
        struct bth_error e = BTH_ERROR_INIT;
        enum bth_drive_status status;
        struct liar drive;

        liar_init(&drive, honest, honest);
        assert_int_equal(med_manifest_spool_new(&drive.base, &options, &spool, &status, &e),
                         -EFBIG);
        assert_int_equal(status, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID);
        assert_int_equal(drive.reads[0], 0); /* and was not even begun */
        (void)bth_source_free(&drive.base);

        options.max_bytes = 0;
        synthetic_init(&huge, "", UINT64_C(1) << 59, ""); /* 2^62 bytes */
        assert_int_equal(med_manifest_spool_new(&huge.base, &options, &spool, &status, &e), -EFBIG);
        assert_int_equal(e.reason, BTH_REASON_TOO_LARGE);
}

/* --- bombs; the alarm guards against hanging, it measures nothing --- */

#define BOMB_MEMORY_KIB (64L * 1024)

static long peak_kib(void)
{
        struct rusage u;

        assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
        return u.ru_maxrss;
}

static void assert_bomb(const char *head, const char *pattern, uint64_t n, const char *tail,
                        enum bth_reason reason)
{
        struct synthetic s = { .pattern = pattern };
        long before = peak_kib();
        struct pass p;

        alarm(30);
        synthetic_init(&s, head, n, tail);
        pass_init(&p);
        pass_run_on(&p, &s.base);
        assert_int_equal(p.result, -EBADMSG);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID);
        assert_int_equal(p.error.reason, reason);
        assert_string_equal(p.error.object, OBJECT);
        assert_true(p.error.line > 0);
        pass_clear(&p);
        alarm(0);
        if (peak_kib() - before > BOMB_MEMORY_KIB)
                fail_msg("%ld KiB for '%s%s'", peak_kib() - before, head, pattern);
}

#define GIGABYTE UINT64_C(100000000) /* of ten characters */
#define TEN      "xxxxxxxxxx"

static void test_bombs(void **state)
{
        assert_bomb("<!DOCTYPE DriveManifest [<!ENTITY a '" TEN "'>", "<!ENTITY b '&a;&a;&a;'>",
                    1000, "]>" HEAD TAIL, BTH_REASON_XML_FORBIDDEN);
        assert_bomb(HEAD, "<x>", 100000, TAIL, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "<BlobList Id='", TEN, GIGABYTE, "'/>" TAIL, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "<BlobList><Blob><BlobPath>", TEN, GIGABYTE,
                    "</BlobPath></Blob></BlobList>" TAIL, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "<!--", TEN, GIGABYTE, "-->" TAIL, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "<", TEN, GIGABYTE, "/>" TAIL, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "<StorageAccountKey>", TEN, GIGABYTE, "</StorageAccountKey>" TAIL,
                    BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb(HEAD "&", TEN, GIGABYTE, ";" TAIL, BTH_REASON_LIMIT_EXCEEDED);
}

/* Many small things that are all wrong: the findings are limited, and so is the queue of blobs. */
static void test_bomb_of_blobs(void **state)
{
        assert_bomb(HEAD "<BlobList>", "<Blob/>", 200000, "</BlobList>" TAIL,
                    BTH_REASON_VALUE_INVALID);
        assert_bomb(HEAD, "<BlobList/><X/>", 200000, "<X>", BTH_REASON_XML_SYNTAX);
        assert_bomb(HEAD "<BlobList><Blob><BlockList>", "<Block Id='x'/>", 500000,
                    "</BlockList></Blob></BlobList>" TAIL, BTH_REASON_VALUE_INVALID);
}

/* 2^63 and its like: sums do not wrap, and nothing is allocated by them. */
static void test_bomb_of_numbers(void **state)
{
        static const char text[] =
                HEAD "<BlobList>"
                     "<Blob><BlobPath>attic/a</BlobPath><FilePath>\\a</FilePath>"
                     "<Length>18446744073709551615</Length><BlockList>"
                     "<Block Offset=\"0\" Length=\"9223372036854775808\" "
                     "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>"
                     "<Block Offset=\"9223372036854775808\" Length=\"9223372036854775808\" "
                     "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/></BlockList></Blob>"
                     "<Blob><BlobPath>attic/b</BlobPath><FilePath>\\b</FilePath>"
                     "<Length>9223372036854775808</Length><PageRangeList>"
                     "<PageRange Offset=\"9223372036854775808\" Length=\"9223372036854775808\" "
                     "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/></PageRangeList></Blob>"
                     "</BlobList>" TAIL;
        struct pass p;

        pass_init(&p);
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, -EBADMSG);
        assert_true(p.summary->counts[MED_MANIFEST_FINDING_RANGE_TOO_LONG] == 3);
        assert_true(p.summary->counts[MED_MANIFEST_FINDING_RANGE_PAST_END] == 2);
        assert_true(p.summary->counts[MED_MANIFEST_FINDING_PAGE_BLOB_TOO_LONG] == 1);
        assert_true(p.summary->length_bytes == UINT64_MAX);
        assert_true(p.summary->range_bytes == UINT64_MAX);
        pass_clear(&p);
}

/* --- secrets --- */

#define KEEP_SECRET "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="

static void assert_secret_kept(const char *text)
{
        char line[4096];
        struct pass p;

        pass_init(&p);
        pass_run(&p, text, strlen(text));
        assert_null(strstr(heard_text(&p.heard), "c2Vj"));
        assert_null(strstr(bth_error_to_string(&p.error, line, sizeof line), "c2Vj"));
        pass_clear(&p);
}

static void test_secrets(void **state)
{
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET "</StorageAccountKey>" TAIL);
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET "!</StorageAccountKey>" TAIL);
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET "</StorageAccount>" TAIL);
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET);
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET "</StorageAccountKey>"
                                "<StorageAccountKey>" KEEP_SECRET "</StorageAccountKey>" TAIL);
        assert_secret_kept(HEAD "<StorageAccountKey>" KEEP_SECRET "</StorageAccountKey>"
                                "<ContainerSas>attic?sig=" KEEP_SECRET "</ContainerSas>" TAIL);
        assert_secret_kept(HEAD "<ContainerSas>?sig=" KEEP_SECRET "</ContainerSas>" TAIL);
        assert_secret_kept(HEAD "<ContainerSas>" KEEP_SECRET "</ContainerSas>" TAIL);
        assert_secret_kept(HEAD "<ContainerSas>attic?sv=1&sig=" KEEP_SECRET "</ContainerSas>" TAIL);
        assert_secret_kept(HEAD "<ContainerSas>attic?sv=1&sig" KEEP_SECRET ";</ContainerSas>" TAIL);
        assert_secret_kept(HEAD "<ContainerSas sig=" KEEP_SECRET "/>" TAIL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read_once),
                cmocka_unit_test(test_hash),
                cmocka_unit_test(test_hash_mismatch_text),
                cmocka_unit_test(test_drive_fails),
                cmocka_unit_test(test_given_file),
                cmocka_unit_test(test_too_large),
                cmocka_unit_test(test_bombs),
                cmocka_unit_test(test_bomb_of_blobs),
                cmocka_unit_test(test_bomb_of_numbers),
                cmocka_unit_test(test_secrets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
