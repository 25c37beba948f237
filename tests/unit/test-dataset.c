/* SPDX-License-Identifier: GPL-3.0-or-later */
/* dataset, driveset, csv - three generations are read, each wrong cell is named, what is written
 * comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "media/dataset.h"
#include "media/driveset.h"
#include "tests/unit/heard.h"

#define KEY "122221-244442-366663-488884-611105-013574-660000-720885"

static struct med_dataset *parse(const char *text, struct heard *h)
{
        const struct med_findings to = { .fn = hear, .userdata = h, .object = "dataset.csv" };
        struct bth_error e = BTH_ERROR_INIT;
        struct med_dataset *d = NULL;
        char line[1024];

        *h = (struct heard){ 0 };
        if (med_dataset_parse(text, strlen(text), &to, &d, &e) < 0)
                fail_msg("%s", bth_error_to_string(&e, line, sizeof line));
        return d;
}

/* The samples of specification 4.7. */
static void test_generation_b(void **state)
{
        struct heard h;
        _cleanup_(med_dataset_freep) struct med_dataset *d = parse(
                "\xef\xbb\xbf"
                "BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\r\n"
                "\"E:\\scans 2031\\\",\"attic/scans/\",BlockBlob,no-overwrite,\"None\",None\r\n"
                "\r\n"
                "\"E:\\img\\boot.vhd\",\"attic/disk/"
                "boot.vhd\",PageBlob,rename,None,\"E:\\prep\\vhd.properties.xml\" |\r\n",
                &h);

        assert_int_equal(d->generation, MED_DATASET_B);
        assert_int_equal(d->n_rows, 2);
        assert_int_equal(d->n_errors, 0);
        assert_string_equal(d->rows[0].base_path, "E:\\scans 2031\\");
        assert_true(d->rows[0].is_folder);
        assert_string_equal(d->rows[0].parts.container, "attic");
        assert_string_equal(d->rows[0].parts.rest, "scans/");
        assert_int_equal(d->rows[0].disposition, BTH_DISPOSITION_NO_OVERWRITE);
        assert_null(d->rows[0].metadata_file);
        assert_int_equal(d->rows[1].line, 4);
        assert_int_equal(d->rows[1].kind, MED_ITEM_PAGE);
        assert_string_equal(d->rows[1].properties_file, "E:\\prep\\vhd.properties.xml");
        assert_string_equal(h.names, "csv-trailing-bar:4 ");
}

static void test_generations_a_and_c(void **state)
{
        struct heard h;
        struct med_dataset *d = parse("basepath,DstBlobPathOrPrefix,BlobType,Disposition\n"
                                      "/data/x , $root/x , page ,\n",
                                      &h);

        assert_int_equal(d->generation, MED_DATASET_A);
        assert_string_equal(d->rows[0].base_path, "/data/x");
        assert_string_equal(d->rows[0].parts.container, "$root");
        assert_int_equal(d->rows[0].kind, MED_ITEM_PAGE);
        assert_false(d->rows[0].has_disposition);
        d = med_dataset_free(d);
        d = parse("BasePath,DstItemPathOrPrefix,ItemType\n\"\\\\nas2\\proj\\\",\"team-share/proj/"
                  "\",file\n",
                  &h);
        assert_int_equal(d->generation, MED_DATASET_C);
        assert_int_equal(d->rows[0].kind, MED_ITEM_FILE);
        assert_int_equal(d->n_errors, 0);
        d = med_dataset_free(d);
}

static void test_every_fault_is_named(void **state)
{
        struct heard h;
        _cleanup_(med_dataset_freep) struct med_dataset *d = parse(
                "BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n"
                ",attic/,,,,\n"              /* 2 */
                "/d/,Attic/,,,,\n"           /* 3 */
                "/d/,attic/x,,,,\n"          /* 4 */
                "/d/,attic/,blob,,,\n"       /* 5 */
                "/d/,attic/,,Replace,,\n"    /* 6 */
                "/d/,attic/,,Rename,,\n"     /* 7 */
                "/d/,attic\\x/,,,,\n"        /* 8 */
                "/d/,$root/sub/,,,,\n"       /* 9 */
                "/d/f,attic/f,,,,,,\n"       /* 10 */
                "/d/f,attic/,blockblob,,,\n" /* 11 */
                "E:\\x*,attic/x,,,,\n",      /* 12 */
                &h);

        assert_int_equal(d->n_rows, 11);
        assert_string_equal(
                h.names,
                "dataset-base-missing:2 dataset-destination:3 dataset-destination-prefix:4 "
                "dataset-type:5 dataset-disposition:6 dataset-case:7 "
                "dataset-destination:8 dataset-destination:9 dataset-columns:10 "
                "dataset-file-to-prefix:11 dataset-case:11 dataset-base-wildcard:12 ");
        assert_int_equal(d->n_errors, 9);
        assert_non_null(strstr(h.texts,
                               "dataset.csv:6: error: column Disposition: 'Replace' is not "
                               "known. allowed: rename, no-overwrite, overwrite."));
}

static void test_csv_refused(void **state)
{
        static const struct {
                const char *text;
                uint64_t line;
        } cases[] = {
                { "BasePath,DstItemPathOrPrefix\n\"open,attic/\n", 2 },
                { "BasePath,DstItemPathOrPrefix\n\"a\"b,attic/\n", 2 },
                { "Base,Dst\n", 1 },
                { "", 1 },
                { "BasePath,DstItemPathOrPrefix\n,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n", 2 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct med_findings to = { .object = "d.csv" };
                struct bth_error e = BTH_ERROR_INIT;
                struct med_dataset *d = NULL;

                assert_int_equal(
                        med_dataset_parse(cases[i].text, strlen(cases[i].text), &to, &d, &e),
                        -EBADMSG);
                assert_int_equal(e.line, cases[i].line);
                assert_string_equal(e.object, "d.csv");
        }
}

static void test_round_trip(void **state)
{
        static const char *const paths[] = { "/data/a b/", "/q\"uote/", "/com,ma/", "/plain/",
                                             "/x|/" };
        unsigned seed = 7;

        for (int round = 0; round < 200; round++) {
                struct med_dataset_row rows[5] = { 0 };
                struct med_dataset in = { .generation = (enum med_dataset_generation)(round % 2),
                                          .rows = rows,
                                          .n_rows = 5 };
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_(med_dataset_freep) struct med_dataset *out = NULL;
                struct heard h;

                for (size_t i = 0; i < 5; i++) {
                        rows[i].base_path = (char *)(uintptr_t)paths[(unsigned)rand_r(&seed) % 5];
                        rows[i].destination = (char *)"attic/p/";
                        rows[i].kind = (enum med_item_kind)(rand_r(&seed) % 3);
                        rows[i].has_disposition = rand_r(&seed) % 2;
                        rows[i].disposition = rows[i].has_disposition
                                                      ? (enum bth_disposition)(rand_r(&seed) % 3)
                                                      : BTH_DISPOSITION_RENAME;
                        rows[i].metadata_file = rand_r(&seed) % 2 ? (char *)"/m, x.xml" : NULL;
                }
                assert_int_equal(med_dataset_write(&b, &in), 0);
                out = parse(b.data, &h);
                assert_int_equal(h.n, 0);
                assert_int_equal(out->generation, in.generation);
                assert_int_equal(out->n_rows, 5);
                for (size_t i = 0; i < 5; i++) {
                        assert_string_equal(out->rows[i].base_path, rows[i].base_path);
                        assert_int_equal(out->rows[i].kind, rows[i].kind);
                        assert_int_equal(out->rows[i].has_disposition, rows[i].has_disposition);
                        assert_int_equal(out->rows[i].disposition, rows[i].disposition);
                        assert_true(bth_streq(out->rows[i].metadata_file, rows[i].metadata_file));
                }
        }
}

static void test_driveset(void **state)
{
        static const char text[] = "DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,"
                                   "ExistingBitLockerKey\r\n"
                                   "K,Format,SilentMode,Encrypt,\r\n"
                                   "L,AlreadyFormatted,SilentMode,AlreadyEncrypted," KEY "\r\n"
                                   "/dev/sdb,AlreadyFormatted,PromptOnFormat,Encrypt,\r\n"
                                   "drives/QX7.img,Format,SilentMode,Encrypt,\r\n";
        struct heard h = { 0 };
        const struct med_findings to = { .fn = hear, .userdata = &h, .object = "driveset.csv" };
        _cleanup_(med_driveset_freep) struct med_driveset *d = NULL, *again = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(med_driveset_parse(text, sizeof text - 1, &to, &d, &e), 0);
        assert_int_equal(d->n_rows, 4);
        assert_int_equal(h.n, 0);
        assert_true(d->rows[0].is_letter && d->rows[0].format && d->rows[0].encrypt);
        assert_string_equal((char *)d->rows[1].key->data, KEY);
        assert_false(d->rows[2].is_letter);
        assert_true(d->rows[2].prompt);
        assert_int_equal(med_driveset_write(&b, d), 0);
        assert_string_equal(b.data, text);
        assert_int_equal(med_driveset_parse(b.data, b.length, &to, &again, &e), 0);
}

/* Random sets are written and read back; no key is lost or changed. */
static void test_driveset_round_trip(void **state)
{
        static const char *const drives[] = {
                "K",           "z",           "/dev/disk/by-id/a,b", "dir with blank/x.img",
                "quo\"te.img", "ends with |", "\xc3\xbc.vhd"
        };
        const unsigned first_seed = 20261122;
        unsigned seed = first_seed;

        print_message("seed %u\n", first_seed);
        for (int round = 0; round < 100; round++) {
                struct med_driveset_row rows[ARRAY_SIZE(drives)] = { 0 };
                const struct med_driveset set = { .rows = rows, .n_rows = ARRAY_SIZE(rows) };
                _cleanup_(med_driveset_freep) struct med_driveset *d = NULL;
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                struct bth_error e = BTH_ERROR_INIT;

                for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                        rows[i].drive = (char *)(uintptr_t)drives[i];
                        rows[i].prompt = rand_r(&seed) % 2;
                        rows[i].encrypt = rand_r(&seed) % 2;
                        rows[i].format = rows[i].encrypt && rand_r(&seed) % 2;
                        if (!rows[i].encrypt)
                                assert_int_equal(
                                        bth_secret_new_copy(KEY, sizeof KEY - 1, &rows[i].key), 0);
                }
                assert_int_equal(med_driveset_write(&b, &set), 0);
                assert_int_equal(med_driveset_parse(b.data, b.length, NULL, &d, &e), 0);
                assert_int_equal(d->n_errors, 0);
                assert_int_equal(d->n_rows, set.n_rows);
                for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                        assert_string_equal(d->rows[i].drive, rows[i].drive);
                        assert_int_equal(d->rows[i].is_letter, i < 2);
                        assert_int_equal(d->rows[i].prompt, rows[i].prompt);
                        assert_int_equal(d->rows[i].format, rows[i].format);
                        assert_int_equal(d->rows[i].encrypt, rows[i].encrypt);
                        assert_int_equal(d->rows[i].key != NULL, rows[i].key != NULL);
                        rows[i].key = bth_secret_free(rows[i].key);
                }
        }
}

static void test_driveset_limits(void **state)
{
        static const char header[] = "DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,"
                                     "ExistingBitLockerKey\n";
        static const char shifted[] =
                "K,SilentMode," KEY ",AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
                "Hh8=,,x\n";
        struct heard h = { 0 };
        const struct med_findings to = { .fn = hear, .userdata = &h, .object = "driveset.csv" };
        _cleanup_(med_driveset_freep) struct med_driveset *d = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;

        /* Cells in the wrong columns: all faults are told, and no key is. */
        assert_int_equal(bth_buf_add_string(&b, header), 0);
        assert_int_equal(bth_buf_add_string(&b, shifted), 0);
        assert_int_equal(med_driveset_parse(b.data, b.length, &to, &d, &e), 0);
        assert_string_equal(h.names, "driveset-columns:2 driveset-value:2 driveset-value:2 "
                                     "driveset-value:2 driveset-key-missing:2 ");
        assert_null(strstr(h.texts, "122221"));
        assert_null(strstr(h.texts, "AAECAwQF"));

        b.length = sizeof header - 1;
        for (int i = 0; i <= MED_DRIVESET_MAX_ROWS; i++)
                assert_int_equal(bth_buf_add_format(&b, "/dev/%d,Format,SilentMode,Encrypt,\n", i),
                                 0);
        d = med_driveset_free(d);
        assert_int_equal(med_driveset_parse(b.data, b.length, NULL, &d, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        assert_int_equal(e.line, MED_DRIVESET_MAX_ROWS + 2);
}

/* Every row of the matrix in specification 4.5, and the other faults. */
static void test_driveset_matrix(void **state)
{
        static const char text[] =
                "DriveLetter,FormatOption,SilentOrPromptOnFormat,Encryption,ExistingBitLockerKey\n"
                "A,Format,SilentMode,Encrypt,\n"
                "B,Format,SilentMode,Encrypt," KEY "\n"
                "C,Format,SilentMode,AlreadyEncrypted,\n"
                "D,Format,SilentMode,AlreadyEncrypted," KEY "\n" /* 5 */
                "E,AlreadyFormatted,SilentMode,Encrypt,\n"
                "F,AlreadyFormatted,SilentMode,AlreadyEncrypted," KEY "\n"
                "G,AlreadyFormatted,SilentMode,AlreadyEncrypted,\n" /* 8 */
                "a,Format,SilentMode,Encrypt,\n"
                "H:,Format,SilentMode,Encrypt,\n" /* 10 */
                "I,Format,,Encrypt,\n"
                "J,format,SilentMode,Encrypt,\n"
                ",Format,SilentMode,Encrypt,\n" /* 13 */
                "K,AlreadyFormatted,SilentMode,AlreadyEncrypted,****\n"
                "L,AlreadyFormatted,SilentMode,AlreadyEncrypted,122222-244442-366663-488884-611105-"
                "013574-660000-720885\n";
        struct heard h = { 0 };
        const struct med_findings to = { .fn = hear, .userdata = &h, .object = "driveset.csv" };
        _cleanup_(med_driveset_freep) struct med_driveset *d = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(med_driveset_parse(text, sizeof text - 1, &to, &d, &e), 0);
        assert_string_equal(h.names,
                            "driveset-key-given:3 driveset-matrix:4 driveset-matrix:5 "
                            "driveset-key-missing:8 driveset-drive-twice:9 driveset-drive-colon:10 "
                            "driveset-value:11 driveset-case:12 driveset-drive-missing:13 "
                            "driveset-key-form:14 bitlocker-key-group:15 driveset-many-drives:0 ");
        assert_int_equal(d->n_errors, 9);
        assert_null(strstr(h.texts, "122221"));
        assert_null(strstr(h.texts, "122222"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_generation_b),
                cmocka_unit_test(test_generations_a_and_c),
                cmocka_unit_test(test_every_fault_is_named),
                cmocka_unit_test(test_csv_refused),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_driveset),
                cmocka_unit_test(test_driveset_matrix),
                cmocka_unit_test(test_driveset_round_trip),
                cmocka_unit_test(test_driveset_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
