/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-findings - every error and every warning about a manifest, with file, line, blob and
 * what to do. Source: import-export specification 2.11. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/lib/manifest-pass.h"

/* Every element on a line of its own: a blob's start tag is at line 6. */
#define TOP          "<DriveManifest Version=\"2014-11-01\">\n<Drive>\n<DriveId>QX7</DriveId>\n"
#define KEY          "<StorageAccountKey>bm90LXJlYWw=</StorageAccountKey>\n"
#define LIST         "<BlobList>\n"
#define END          "</BlobList>\n</Drive>\n</DriveManifest>\n"
#define BLOB(inner)  TOP KEY LIST "<Blob>\n" inner "</Blob>\n" END
#define PATH(p)      "<BlobPath>" p "</BlobPath>\n"
#define FILE_PATH(p) "<FilePath>" p "</FilePath>\n"
#define LENGTH(n)    "<Length>" n "</Length>\n"
#define RENAME       "<ImportDisposition>rename</ImportDisposition>\n"
#define HASH         " Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>\n"
#define HASH2        " Hash=\"17DD6919F5930EA8BD58FECBAFD7EB7B\"/>\n"
#define BLOCK(o, n)  "<Block Offset=\"" o "\" Length=\"" n "\"" HASH
#define PAGE(o, n)   "<PageRange Offset=\"" o "\" Length=\"" n "\"" HASH
#define BLOCKS(b)    "<BlockList>\n" b "</BlockList>\n"
#define PAGES(b)     "<PageRangeList>\n" b "</PageRangeList>\n"
/* Names at lines 7 and 8, Length at 9, disposition at 10, the list at 11, its first range at 12. */
#define NAMED(rest)   PATH("attic/a") FILE_PATH("\\a") rest
#define WITH(n, list) BLOB(NAMED(LENGTH(n) RENAME list))
#define FOUR          BLOCKS(BLOCK("0", "4"))
#define NAMES(p, f)   BLOB(PATH(p) FILE_PATH(f) LENGTH("4") RENAME FOUR)
#define X10(s)        s s s s s s s s s s
#define X100(s)       X10(X10(s))
#define MD5_ABCD      " Id=\"MD5/ywjKSnu1+Wg8GRM6hIcspw==\""
#define MD5_EFGH      " Id=\"MD5/F91pGfWTDqi9WP7Lr9frew==\""
#define SIXTYFIVE_BYTES                                                                        \
        "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB" \
        "QUE="

struct example {
        enum med_manifest_finding finding;
        const char *text;
        uint64_t line;
        const char *blob; /* NULL: the finding is about no blob */
        const char *detail;
        enum med_manifest_direction direction;
        unsigned n_more; /* other errors that follow from this one */
};

#define F(id) MED_MANIFEST_FINDING_##id

static const struct example errors[] = {
        { F(VERSION_MISSING),
          "<DriveManifest>\n<Drive><DriveId>Q</DriveId>\n" KEY "<BlobList/></Drive>\n"
          "</DriveManifest>",
          1, NULL, "" },
        { F(DRIVE_MISSING), "<DriveManifest Version=\"1\">\n</DriveManifest>\n", 3, NULL, "" },
        { F(SEVERAL_DRIVES), TOP KEY "<BlobList/>\n</Drive>\n<Drive>\n</Drive></DriveManifest>", 7,
          NULL, "" },
        { F(DRIVE_ID_MISSING), "<DriveManifest Version=\"1\">\n<Drive>\n" KEY LIST END, 2, NULL,
          "" },
        { F(BLOB_LIST_MISSING), TOP KEY "</Drive></DriveManifest>", 2, NULL, "" },
        { F(TWO_CREDENTIALS),
          TOP KEY
          "<ContainerSas>attic?sv=2019-12-12&amp;sp=rwd&amp;sig=x</ContainerSas>\n" LIST END,
          5, NULL, "" },
        { F(ELEMENT_TWICE), BLOB(NAMED(LENGTH("4") LENGTH("5") RENAME FOUR)), 10, "attic/a",
          "Length" },
        { F(ELEMENT_TWICE), TOP "<DriveId>QX8</DriveId>\n" KEY LIST END, 4, NULL, "DriveId" },
        { F(BLOB_PATH_MISSING), BLOB(FILE_PATH("\\a") LENGTH("4") RENAME FOUR), 6, "\\a", "" },
        { F(BLOB_PATH_MISSING), BLOB(PATH("") FILE_PATH("\\a") LENGTH("4") RENAME FOUR), 6, "\\a",
          "" },
        { F(FILE_PATH_MISSING), BLOB(PATH("attic/a") LENGTH("4") RENAME FOUR), 6, "attic/a", "" },
        { F(LENGTH_MISSING), BLOB(NAMED(RENAME FOUR)), 6, "attic/a", "" },
        { F(NUMBER_INVALID), WITH("8x", FOUR), 9, "attic/a", "Length is '8x'" },
        { F(NUMBER_INVALID), WITH("18446744073709551616", FOUR), 9, "attic/a",
          "Length is '18446744073709551616'" },
        { F(NUMBER_INVALID), WITH("4", BLOCKS(BLOCK("-0", "4"))), 12, "attic/a", "Offset is '-0'" },
        { F(NUMBER_INVALID), WITH("4", BLOCKS(BLOCK("0", ""))), 12, "attic/a", "Length is ''" },
        { F(ATTRIBUTE_MISSING), WITH("4", BLOCKS("<Block Length=\"4\"" HASH)), 12, "attic/a",
          "Block has no Offset" },
        { F(ATTRIBUTE_MISSING), WITH("4", BLOCKS("<Block Offset=\"0\"" HASH)), 12, "attic/a",
          "Block has no Length" },
        { F(ATTRIBUTE_MISSING), WITH("512", PAGES("<PageRange Offset=\"0\" Length=\"512\"/>\n")),
          12, "attic/a", "PageRange has no Hash" },
        { F(ATTRIBUTE_MISSING), WITH("4", FOUR "<MetadataPath>\\m</MetadataPath>\n"), 14, "attic/a",
          "MetadataPath has no Hash" },
        { F(TWO_RANGE_LISTS), WITH("4", FOUR PAGES("")), 14, "attic/a", "PageRangeList" },
        { F(TWO_RANGE_LISTS), WITH("4", FOUR FOUR), 14, "attic/a", "BlockList" },
        { F(NO_RANGE_LIST), WITH("4", ""), 6, "attic/a", "" },
        { F(RANGE_NOT_ORDERED), WITH("1024", PAGES(PAGE("512", "512") PAGE("0", "512"))), 13,
          "attic/a", "Offset 0 follows Offset 512" },
        { F(RANGE_NOT_ORDERED), WITH("8", BLOCKS(BLOCK("0", "4") BLOCK("4", "4") BLOCK("0", "4"))),
          14, "attic/a", "Offset 0 follows Offset 4" },
        { F(RANGE_OVERLAP), WITH("2048", PAGES(PAGE("0", "1024") PAGE("512", "512"))), 13,
          "attic/a", "Offset 512 lies in the range before, which ends at 1024" },
        { F(RANGE_OVERLAP), WITH("8", BLOCKS(BLOCK("0", "5") BLOCK("4", "4"))), 13, "attic/a",
          "Offset 4 lies in the range before, which ends at 5" },
        { F(RANGE_OVERLAP), WITH("8", BLOCKS(BLOCK("0", "4") BLOCK("0", "4"))), 13, "attic/a",
          "Offset 0 lies in the range before, which ends at 4" },
        { F(RANGE_TOO_LONG), WITH("8388608", PAGES(PAGE("0", "4194816"))), 12, "attic/a",
          "Length 4194816 at Offset 0; at most 4194304 bytes are possible" },
        { F(RANGE_TOO_LONG),
          WITH("4194304001", BLOCKS("<Block Offset=\"0\" Length=\"4194304001\"" MD5_ABCD HASH)), 12,
          "attic/a", "Length 4194304001 at Offset 0; at most 4194304000 bytes are possible" },
        { F(RANGE_EMPTY), WITH("4", BLOCKS(BLOCK("0", "4") BLOCK("4", "0"))), 13, "attic/a",
          "Offset 4" },
        { F(RANGE_PAST_END), WITH("1024", PAGES(PAGE("512", "1024"))), 12, "attic/a",
          "Offset 512, Length 1024; the blob has 1024 bytes" },
        { F(RANGE_PAST_END), WITH("4", BLOCKS(BLOCK("0", "5"))), 12, "attic/a",
          "Offset 0, Length 5; the blob has 4 bytes" },
        { F(RANGE_PAST_END), WITH("1024", PAGES(PAGE("18446744073709551104", "1024"))), 12,
          "attic/a", "Offset 18446744073709551104, Length 1024; the blob has 1024 bytes" },
        { F(PAGE_RANGE_UNALIGNED), WITH("1024", PAGES(PAGE("1", "512"))), 12, "attic/a",
          "Offset 1, Length 512" },
        { F(PAGE_RANGE_UNALIGNED), WITH("1024", PAGES(PAGE("512", "511"))), 12, "attic/a",
          "Offset 512, Length 511" },
        { F(PAGE_LENGTH_UNALIGNED), WITH("1000", PAGES(PAGE("0", "512"))), 6, "attic/a",
          "it is 1000" },
        { F(PAGE_BLOB_TOO_LONG), WITH("8796093022720", PAGES(PAGE("0", "512"))), 6, "attic/a",
          "it has 8796093022720" },
        { F(BLOCK_GAP), WITH("9", BLOCKS(BLOCK("0", "4") BLOCK("5", "4"))), 13, "attic/a",
          "Offset 5 where 4 was expected" },
        { F(BLOCK_GAP), WITH("8", BLOCKS(BLOCK("4", "4"))), 12, "attic/a",
          "Offset 4 where 0 was expected" },
        { F(BLOCK_SUM), WITH("9", BLOCKS(BLOCK("0", "4") BLOCK("4", "4"))), 6, "attic/a",
          "the blocks have 8 bytes, the blob 9" },
        { F(BLOCK_SUM), WITH("1", "<BlockList/>\n"), 6, "attic/a",
          "the blocks have 0 bytes, the blob 1" },
        { F(BLOCK_IDS_INCOMPLETE),
          WITH("8", BLOCKS("<Block Offset=\"0\" Length=\"4\"" MD5_ABCD HASH BLOCK("4", "4"))), 13,
          "attic/a", "1 of 2 blocks have an id; the block at offset 4 has none" },
        { F(BLOCK_ID_LENGTHS),
          WITH("8", BLOCKS("<Block Offset=\"0\" Length=\"4\" Id=\"AAAA\"" HASH
                           "<Block Offset=\"4\" Length=\"4\" Id=\"AAAAAA==\"" HASH)),
          13, "attic/a", "the first has 4 characters, that at offset 4 has 8" },
        { F(BLOCK_ID_INVALID),
          WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" Id=\"a b\"" HASH)), 12, "attic/a",
          "'a b'" },
        { F(BLOCK_ID_INVALID), WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" Id=\"\"" HASH)),
          12, "attic/a", "''" },
        { F(BLOCK_ID_INVALID),
          WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" Id=\"" SIXTYFIVE_BYTES "\"" HASH)), 12,
          "attic/a", "'" SIXTYFIVE_BYTES "'" },
        { F(BLOCK_ID_REUSED),
          WITH("12", BLOCKS("<Block Offset=\"0\" Length=\"4\" Id=\"AAAAAA==\"" HASH
                            "<Block Offset=\"4\" Length=\"4\" Id=\"AQAAAA==\"" HASH
                            "<Block Offset=\"8\" Length=\"4\" Id=\"AAAAAA==\"" HASH2)),
          14, "attic/a", "'AAAAAA==' is also at line 12" },
        { F(HASH_INVALID), WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" Hash=\"CB08\"/>\n")),
          12, "attic/a", "Block has 'CB08'" },
        { F(HASH_INVALID),
          WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" "
                           "Hash=\"CB08CA4A7BB5F968 C19133A84872CA7\"/>\n")),
          12, "attic/a", "Block has 'CB08CA4A7BB5F968 C19133A84872CA7'" },
        { F(HASH_INVALID),
          WITH("4", FOUR "<PropertiesPath Hash=\"GB08CA4A7BB5F9683C19133A84872CA7\">\\p"
                         "</PropertiesPath>\n"),
          14, "attic/a", "PropertiesPath has 'GB08CA4A7BB5F9683C19133A84872CA7'" },
        { F(DISPOSITION_UNKNOWN),
          BLOB(NAMED(LENGTH("4") "<ImportDisposition>Overwrite</ImportDisposition>\n" FOUR)), 10,
          "attic/a", "it is 'Overwrite'" },
        { F(CONTAINER_INVALID), NAMES("Attic/a", "\\a"), 6, "Attic/a",
          "the container 'Attic' must be lower case" },
        { F(CONTAINER_INVALID), NAMES("at--tic/a", "\\a"), 6, "at--tic/a",
          "the container 'at--tic' must have a letter or digit on both sides of a hyphen" },
        { F(CONTAINER_INVALID), NAMES(X10("sevenab") "/a", "\\a"), 6, X10("sevenab") "/a",
          "'sevenabsevenabsevena…' has more than 63 characters" },
        { F(BLOB_NAME_MISSING), NAMES("attic", "\\a"), 6, "attic", "" },
        { F(BLOB_NAME_MISSING), NAMES("attic/", "\\a"), 6, "attic/", "" },
        { F(ROOT_BLOB_SLASH), NAMES("$root/a/b", "\\a"), 6, "$root/a/b", "" },
        { F(BLOB_OUTSIDE_CONTAINER),
          TOP "<ContainerSas>cellar?sv=2019-12-12&amp;sp=rwd&amp;sig=x</ContainerSas>\n" LIST
              "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "</Blob>\n" END,
          6, "attic/a", "it is in 'attic', the credential is for 'cellar'" },
        /* The sum is not exact in an export, but a hash must be a hash. */
        { F(HASH_INVALID),
          TOP LIST "<Blob>\n" NAMED(LENGTH("4"))
                  BLOCKS("<Block Offset=\"0\" Length=\"4\" Hash=\"\"/>\n") "</Blob>\n" END,
          10, "attic/a", "Block has ''", MED_MANIFEST_EXPORT },
};

static const struct example warnings[] = {
        { F(CREDENTIAL_MISSING), TOP LIST END, 2, NULL, "" },
        { F(CREDENTIAL_DOUBTFUL), TOP "<StorageAccountKey>****</StorageAccountKey>\n" LIST END, 4,
          NULL, "StorageAccountKey was blanked out" },
        { F(CREDENTIAL_DOUBTFUL), TOP "<StorageAccountKey>a b</StorageAccountKey>\n" LIST END, 4,
          NULL, "StorageAccountKey is not base64" },
        { F(CREDENTIAL_DOUBTFUL), TOP "<ContainerSas>attic</ContainerSas>\n" LIST END, 4, NULL,
          "ContainerSas does not have the form container?token" },
        { F(CREDENTIAL_DOUBTFUL),
          TOP "<ContainerSas>attic?sv=2012-02-12&amp;sp=rwd&amp;sig=x</ContainerSas>\n" LIST END, 4,
          NULL, "ContainerSas has no version (sv) of 2014-02-14 or later" },
        { F(CREDENTIAL_DOUBTFUL),
          TOP "<ContainerSas>attic?sv=2014-02-14&amp;sp=rw&amp;sig=x</ContainerSas>\n" LIST END, 4,
          NULL, "ContainerSas does not allow to read, write and delete (sp)" },
        { F(BLOB_PATH_TWICE),
          TOP KEY LIST "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "</Blob>\n<Blob>\n" PATH("attic/a")
                  FILE_PATH("\\b") LENGTH("4") RENAME FOUR "</Blob>\n" END,
          15, "attic/a", "" },
        { F(FILE_PATH_TWICE),
          TOP KEY LIST "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "</Blob>\n<Blob>\n" PATH("attic/b")
                  FILE_PATH("\\A") LENGTH("4") RENAME FOUR "</Blob>\n" END,
          15, "attic/b", "" },
        { F(PATH_LONG), NAMES("attic/a", "\\" X100("a") X100("b") "\\" X10("sevenb")), 6, "attic/a",
          "it has 262" },
        { F(FILE_PATH_DOUBTFUL), NAMES("attic/a", "a"), 6, "attic/a",
          "the path 'a' must begin with a backslash and name a file" },
        { F(FILE_PATH_DOUBTFUL), NAMES("attic/a", "\\..\\a"), 6, "attic/a",
          "the path '\\..\\a' must not have '.' or '..' as a component" },
        { F(DRIVE_ID_BLANKS),
          "<DriveManifest Version=\"1\">\n<Drive>\n<DriveId>QX 7</DriveId>\n" KEY LIST END, 3, NULL,
          "'QX 7'" },
        { F(DRIVE_ID_LATE),
          "<DriveManifest Version=\"1\">\n<Drive>\n" KEY "<BlobList/>\n<DriveId>Q</DriveId>\n"
          "</Drive></DriveManifest>",
          5, NULL, "" },
        { F(LIST_DEFAULT_LATE),
          TOP KEY LIST
          "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "</Blob>\n<MetadataPath"
                                                    " Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\">"
                                                    "\\m</MetadataPath>\n" END,
          15, NULL, "MetadataPath" },
        { F(UNKNOWN_ELEMENT), TOP KEY "<Color>red</Color>\n" LIST END, 5, NULL, "Color" },
        { F(UNKNOWN_ELEMENT), WITH("4", FOUR "<BlobType><x/></BlobType>\n"), 14, "attic/a",
          "BlobType" },
        { F(UNKNOWN_ELEMENT), WITH("4", BLOCKS(BLOCK("0", "4") PAGE("0", "512"))), 13, "attic/a",
          "PageRange" },
        { F(STRAY_TEXT), WITH("4", "words" FOUR), 11, "attic/a", "" },
        { F(LOWER_CASE_HASH),
          WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" "
                           "Hash=\"CB08CA4A7BB5F9683C19133A84872Ca7\"/>\n")),
          12, "attic/a", "in Block" },
        { F(LOWER_CASE_HASH),
          WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\" "
                           "Hash=\"Cb08CA4A7BB5F9683C19133A84872CA7\"/>\n")),
          12, "attic/a", "in Block" },
        { F(LARGE_BLOB_WITHOUT_IDS), WITH("67108865", BLOCKS(BLOCK("0", "67108865"))), 6, "attic/a",
          "" },
        { F(BLOCK_ID_NOT_HASH), WITH("4", BLOCKS("<Block Offset=\"0\" Length=\"4\"" MD5_EFGH HASH)),
          12, "attic/a",
          "'MD5/F91pGfWTDqi9WP7Lr9frew==' should be 'MD5/ywjKSnu1+Wg8GRM6hIcspw=='" },
        { F(DISPOSITION_ABSENT), BLOB(NAMED(LENGTH("4") FOUR)), 6, "attic/a", "" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("attic/100%", "\\a"), 6, "attic/100%",
          "the name has '%', '?' or '#', which some clients take for parts of a URL" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("attic/a?", "\\a"), 6, "attic/a?",
          "the name has '%', '?' or '#', which some clients take for parts of a URL" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("attic/#a", "\\a"), 6, "attic/#a",
          "the name has '%', '?' or '#', which some clients take for parts of a URL" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("attic/a.", "\\a"), 6, "attic/a.",
          "the name ends with a dot or slash, which some clients drop" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("attic/a/", "\\a"), 6, "attic/a/",
          "the name ends with a dot or slash, which some clients drop" },
        { F(BLOB_NAME_DOUBTFUL), NAMES("/attic/a", "\\a"), 6, "/attic/a",
          "BlobPath begins with a slash, which is not part of it" },
        { F(BLOB_NAME_LONG), NAMES("attic/" X10(X100("b")) X10("abc"), "\\a"), 6, NULL,
          "it has 1030" },
        { F(BEYOND_2014_FORMAT), WITH("4194305", BLOCKS(BLOCK("0", "4194305"))), 12, "attic/a",
          "a block of 4194305 bytes; that format had at most 4194304" },
        { F(BEYOND_2014_FORMAT),
          WITH("4194304000", BLOCKS("<Block Offset=\"0\" Length=\"4194304000\"" MD5_ABCD HASH)), 12,
          "attic/a", "a block of 4194304000 bytes; that format had at most 4194304" },
        { F(BEYOND_2014_FORMAT), WITH("1099511628288", PAGES(PAGE("0", "512"))), 6, "attic/a",
          "a blob of 1099511628288 bytes; that format had at most 1099511627776" },
        { F(IMPORT_ONLY), TOP KEY LIST END, 4, NULL, "StorageAccountKey", MED_MANIFEST_EXPORT },
        { F(IMPORT_ONLY), TOP LIST "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "</Blob>\n" END, 9,
          "attic/a", "ImportDisposition", MED_MANIFEST_EXPORT },
        { F(IMPORT_ONLY),
          TOP LIST "<PropertiesPath Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\">\\p"
                   "</PropertiesPath>\n" END,
          5, NULL, "PropertiesPath", MED_MANIFEST_EXPORT },
        { F(EXPORT_ONLY),
          BLOB(NAMED("<Snapshot>2031-01-01T00:00:00.0000000Z</Snapshot>\n" LENGTH("4")
                             RENAME FOUR)),
          9, "attic/a", "Snapshot" },
        { F(EXPORT_SUM), TOP LIST "<Blob>\n" NAMED(LENGTH("9") FOUR) "</Blob>\n" END, 5, "attic/a",
          "the blocks have 4 bytes, the blob 9", MED_MANIFEST_EXPORT },
        { F(AZURE_FILE),
          TOP KEY "<FileList>\n<File>\n<FileStoragePath>share-1/a</FileStoragePath>\n" FILE_PATH(
                  "\\a") LENGTH("4") RENAME
          "<FileRangeList>\n<FileRange Offset=\"0\" Length=\"4\"" HASH
          "</FileRangeList>\n</File>\n</FileList>\n</Drive></DriveManifest>",
          6, "share-1/a", "" },
        { F(EMPTY_RANGE_DROPPED), WITH("0", BLOCKS(BLOCK("0", "0"))), 12, "attic/a", "" },
};

static bool covered[_MED_MANIFEST_FINDING_MAX];

static void cover(const struct heard *h)
{
        for (int f = 0; f < _MED_MANIFEST_FINDING_MAX; f++)
                covered[f] |= h->had[f];
}

/* The whole line as people see it. */
static void assert_line(const struct heard *h, const struct example *x)
{
        const bool error = med_manifest_finding_severity(x->finding) == MED_SEVERITY_ERROR;
        const char *advice = med_manifest_finding_advice(x->finding);
        char expected[4096], blob[2048] = "";

        assert_true(strlen(advice) > 8);
        if (x->blob)
                (void)snprintf(blob, sizeof blob, " blob '%s':", x->blob);
        (void)snprintf(expected, sizeof expected, "%s:%" PRIu64 ":%s %s: %s%s%s. %s. [%s]\n",
                       OBJECT, x->line, blob, error ? "error" : "warning",
                       med_manifest_finding_sentence(x->finding), x->detail[0] ? ": " : "",
                       x->detail, advice, med_manifest_finding_to_string(x->finding));
        if (x->finding == F(BLOB_NAME_LONG)) /* its name is too long for the line as well */
                assert_non_null(strstr(heard_text(h), "[blob-name-long]\n"));
        else if (!strstr(heard_text(h), expected))
                fail_msg("heard\n%sbut not\n%s", heard_text(h), expected);
}

static void test_errors(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
                const struct example *x = &errors[i];
                struct pass p;

                pass_init(&p);
                p.options.direction = x->direction;
                pass_run(&p, x->text, strlen(x->text));
                assert_line(&p.heard, x);
                assert_int_equal(p.result, -EBADMSG);
                assert_int_equal(p.status, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID);
                /* One mistake is one error. */
                if (p.summary->n_errors != 1 + x->n_more)
                        fail_msg("%" PRIu64 " errors:\n%s", p.summary->n_errors,
                                 heard_text(&p.heard));
                assert_true(p.summary->counts[x->finding] == 1);
                assert_int_equal(p.error.line, x->line);
                assert_string_equal(p.error.object, OBJECT);
                assert_string_equal(p.error.blob, x->blob ? x->blob : "");
                assert_string_equal(bth_error_advice(&p.error),
                                    med_manifest_finding_advice(x->finding));
                cover(&p.heard);
                pass_clear(&p);
        }
}

static void test_warnings(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(warnings); i++) {
                const struct example *x = &warnings[i];
                struct pass p;

                pass_init(&p);
                p.options.direction = x->direction;
                pass_run(&p, x->text, strlen(x->text));
                assert_line(&p.heard, x);
                if (p.result != 0)
                        fail_msg("errors:\n%s", heard_text(&p.heard));
                assert_true(p.summary->counts[x->finding] == 1);
                cover(&p.heard);
                pass_clear(&p);
        }
}

/* A clean manifest has none of all these. */
static void test_nothing_to_say(void **state)
{
        static const char *const clean[] = {
                WITH("4", FOUR),
                WITH("0", "<BlockList/>\n"),
                WITH("1024", PAGES("")),
                NAMES("$root/a", "\\a"),
                NAMES("attic/" X10(X100("b")), "\\a"),
                WITH("4", BLOCKS("<Block Offset=\" 0\t\" Length=\"4\" "
                                 "Hash=\" CB08CA4A7BB5F9683C19133A84872CA7\n\"/>\n")),
        };

        for (size_t i = 0; i < ARRAY_SIZE(clean); i++) {
                struct pass p;

                pass_init(&p);
                pass_run(&p, clean[i], strlen(clean[i]));
                assert_string_equal(heard_text(&p.heard), "");
                assert_int_equal(p.result, 0);
                pass_clear(&p);
        }
}

/* --- findings that need more than a short text --- */

static void test_not_a_manifest(void **state)
{
        static const char text[] = "<?xml version='1.0'?>\n<DriveLog/>";
        char line[1024];
        struct pass p;

        pass_init(&p);
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, -EBADMSG);
        assert_null(p.summary);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID);
        assert_int_equal(p.error.reason, BTH_REASON_NOT_A_MANIFEST);
        assert_string_equal(bth_error_to_string(&p.error, line, sizeof line),
                            OBJECT ":2: the root element is not DriveManifest: it is 'DriveLog'. "
                                   "give the manifest of the drive.");
        cover(&p.heard);
        pass_clear(&p);
}

static void test_drive_id_mismatch(void **state)
{
        static const char text[] = WITH("4", FOUR);
        struct pass p;

        pass_init(&p);
        p.options.drive_serial = "Q X7 "; /* blanks do not count */
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, 0);
        pass_clear(&p);

        pass_init(&p);
        p.options.drive_serial = "QX77";
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, -EBADMSG);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_MANIFEST_DRIVE_ID_MISMATCH);
        assert_string_equal(heard_text(&p.heard),
                            OBJECT ":3: error: DriveId is not the serial number of this drive: "
                                   "DriveId is 'QX7', the drive is 'QX77'. check that manifest and "
                                   "drive belong together. [drive-id-mismatch]\n");
        cover(&p.heard);
        pass_clear(&p);
}

static void test_file_longer(void **state)
{
        const struct med_manifest_blob b = {
                .line = 6,
                .blob_path = "attic/a",
                .file_path = "\\a",
                .length_bytes = 4,
        };
        struct pass p;

        pass_init(&p);
        med_manifest_check_file(&p.findings, &b, 4);
        med_manifest_check_file(&p.findings, &b, 3);
        assert_string_equal(heard_text(&p.heard), "");
        med_manifest_check_file(&p.findings, &b, 5);
        assert_string_equal(heard_text(&p.heard),
                            OBJECT ":6: blob 'attic/a': warning: the file on the drive is longer "
                                   "than Length: \\a has 5 bytes, Length is 4. check that the file "
                                   "did not grow; only Length bytes are copied. [file-longer]\n");
        cover(&p.heard);
        pass_clear(&p);
}

static void block_record(uint64_t i, char *out)
{
        (void)snprintf(out, SYNTHETIC_RECORD_MAX,
                       "<Block Offset=\"%012" PRIu64 "\" Length=\"1\" "
                       "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>",
                       i);
}

static void page_record(uint64_t i, char *out)
{
        (void)snprintf(out, SYNTHETIC_RECORD_MAX,
                       "<PageRange Offset=\"%015" PRIu64 "\" Length=\"512\" "
                       "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>",
                       i * 512);
}

static void test_too_many_blocks(void **state)
{
        for (unsigned n = MED_MANIFEST_BLOCKS_MAX; n <= MED_MANIFEST_BLOCKS_MAX + 2; n++) {
                struct synthetic s = { .record = block_record };
                char head[1024];
                struct pass p;

                (void)snprintf(head, sizeof head, TOP KEY LIST "<Blob>\n%s<Length>%u</Length>\n%s",
                               NAMED(""), n, RENAME "<BlockList>\n");
                synthetic_init(&s, head, n, "</BlockList></Blob>" END);
                pass_init(&p);
                pass_run_on(&p, &s.base);
                if (n == MED_MANIFEST_BLOCKS_MAX) {
                        assert_int_equal(p.result, 0);
                        assert_true(p.summary->n_ranges == n);
                        assert_string_equal(heard_text(&p.heard), "");
                } else {
                        assert_int_equal(p.result, -EBADMSG);
                        assert_string_equal(heard_text(&p.heard), OBJECT
                                            ":6: blob 'attic/a': error: a blob has more than 50000 "
                                            "blocks. use longer blocks or split the file. "
                                            "[too-many-blocks]\n");
                }
                cover(&p.heard);
                pass_clear(&p);
        }
}

static void test_too_many_ranges(void **state)
{
        struct synthetic s = { .record = page_record };
        struct pass p;

        synthetic_init(&s,
                       TOP KEY LIST
                       "<Blob>\n" NAMED(LENGTH("1099511627776") RENAME) "<PageRangeList>\n",
                       MED_MANIFEST_RANGES_MAX + 1, "</PageRangeList></Blob>" END);
        pass_init(&p);
        pass_run_on(&p, &s.base);
        assert_int_equal(p.result, -EBADMSG);
        assert_string_equal(heard_text(&p.heard),
                            OBJECT ":6: blob 'attic/a': error: the entry has more than 2097152 "
                                   "ranges. use longer ranges or split the file. "
                                   "[too-many-ranges]\n");
        cover(&p.heard);
        pass_clear(&p);
}

static void test_text_too_long(void **state)
{
        struct synthetic s = { .pattern = "x" };
        struct pass p;

        synthetic_init(&s, TOP KEY LIST "<Blob>\n" NAMED(LENGTH("4") RENAME FOUR) "<ClientData>",
                       MED_MANIFEST_TEXT_BYTES + 1, "</ClientData></Blob>" END);
        pass_init(&p);
        pass_run_on(&p, &s.base);
        assert_int_equal(p.result, -EBADMSG);
        assert_string_equal(heard_text(&p.heard), OBJECT
                            ":14: blob 'attic/a': error: a text is too long: ClientData. "
                            "shorten it to 64 KiB; a credential to 4 KiB. [text-too-long]\n");
        cover(&p.heard);
        pass_clear(&p);
}

/* --- what holds for all findings --- */

static void test_list(void **state)
{
        for (int f = 0; f < _MED_MANIFEST_FINDING_MAX; f++) {
                const char *name = med_manifest_finding_to_string(f);

                assert_int_equal(med_manifest_finding_from_string(name), f);
                assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name));
                assert_true(med_manifest_finding_sentence(f)[0] != '\0');
                assert_true(med_manifest_finding_advice(f)[0] != '\0');
        }
        assert_null(med_manifest_finding_to_string(_MED_MANIFEST_FINDING_MAX));
        assert_int_equal(med_manifest_finding_from_string("no"), _MED_MANIFEST_FINDING_INVALID);
        assert_int_equal(med_manifest_finding_from_string(NULL), _MED_MANIFEST_FINDING_INVALID);
}

/* More of one kind than the limit are counted, not told. */
static void test_max_each(void **state)
{
        struct synthetic s = {
                .pattern = "<Blob><BlobPath>attic/a</BlobPath><FilePath>\\a</FilePath><Length>4"
                           "</Length><BlockList><Block Offset=\"0\" Length=\"4\"" HASH
                           "</BlockList></Blob>\n",
        };
        struct pass p;

        synthetic_init(&s, TOP KEY LIST, 1000, END);
        pass_init(&p);
        p.options.max_each = 3;
        pass_run_on(&p, &s.base);
        assert_int_equal(p.result, 0);
        assert_true(p.summary->counts[F(DISPOSITION_ABSENT)] == 1000);
        assert_true(p.summary->counts[F(BLOB_PATH_TWICE)] == 999);
        assert_int_equal(p.heard.n, 9);
        pass_clear(&p);
}

/* One entry that is wrong in many places: eight of a kind are told, all are counted. */
static void test_many_in_one(void **state)
{
        struct synthetic s = { .pattern = "<Block Length=\"x\" Hash=\"y\"/><Z/>" };
        struct pass p;

        synthetic_init(&s, TOP KEY LIST "<Blob>\n" NAMED(LENGTH("4") RENAME) "<BlockList>", 100,
                       "</BlockList></Blob>" END);
        pass_init(&p);
        pass_run_on(&p, &s.base);
        assert_int_equal(p.result, -EBADMSG);
        assert_true(p.summary->counts[F(NUMBER_INVALID)] == 100);
        assert_true(p.summary->counts[F(HASH_INVALID)] == 100);
        assert_true(p.summary->counts[F(ATTRIBUTE_MISSING)] == 100);
        assert_true(p.summary->counts[F(UNKNOWN_ELEMENT)] == 1);
        assert_int_equal(p.heard.n, 3 * 8 + 1);
        pass_clear(&p);
}

/* Last: every finding was heard in one of the tests above. MANIFEST_HASH_MISMATCH is the spool's.
 */
static void test_all_covered(void **state)
{
        for (int f = 0; f < _MED_MANIFEST_FINDING_MAX; f++)
                if (!covered[f] && f != F(MANIFEST_HASH_MISMATCH))
                        fail_msg("no test for '%s'", med_manifest_finding_to_string(f));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_warnings),
                cmocka_unit_test(test_nothing_to_say),
                cmocka_unit_test(test_not_a_manifest),
                cmocka_unit_test(test_drive_id_mismatch),
                cmocka_unit_test(test_file_longer),
                cmocka_unit_test(test_too_many_blocks),
                cmocka_unit_test(test_too_many_ranges),
                cmocka_unit_test(test_text_too_long),
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_max_each),
                cmocka_unit_test(test_many_in_one),
                cmocka_unit_test(test_all_covered),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
