/* SPDX-License-Identifier: GPL-3.0-or-later */
/* base - the small helpers that every module stands on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/exit.h"
#include "base/frame.h"
#include "base/guid.h"
#include "base/io.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/source.h"
#include "base/status.h"
#include "base/str.h"
#include "base/time.h"
#include "base/utf.h"

static void test_error_text(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        char text[512];

        bth_error_at(&e, "/m.xml", 12, BTH_ERROR_NO_OFFSET);
        bth_error_blob(&e, "attic/a\nb");
        assert_int_equal(
                bth_error_set(&e, -EINVAL, BTH_REASON_VALUE_INVALID, "hash has %d digits", 31),
                -EINVAL);
        bth_error_advise(&e, "write 32 digits");
        assert_string_equal(
                bth_error_to_string(&e, text, sizeof text),
                "/m.xml:12: blob 'attic/a\\x0ab': hash has 31 digits. write 32 digits.");
}

static void test_parse(void **state)
{
        uint64_t v;
        uint8_t bytes[8];
        size_t n;

        assert_int_equal(bth_parse_u64("18446744073709551615", &v), 0);
        assert_true(v == UINT64_MAX);
        assert_int_equal(bth_parse_u64("18446744073709551616", &v), -ERANGE);
        assert_int_equal(bth_parse_u64("-1", &v), -EINVAL);
        assert_int_equal(bth_parse_size("1.5TB", &v), 0);
        assert_true(v == UINT64_C(1500000000000));
        assert_int_equal(bth_parse_size("4MiB", &v), 0);
        assert_true(v == 4 << 20);
        assert_int_equal(bth_base64_decode("AAAAAA==", 8, bytes, &n), 0);
        assert_int_equal(n, 4);
        assert_int_equal(bth_base64_decode("AAAAAB==", 8, bytes, &n), -EINVAL);
}

static void test_redact(void **state)
{
        char text[] =
                "key 122221-244442-366663-488884-611105-013574-660000-720885 ?sv=1&sig=abc%3D&x=1";

        bth_redact(text);
        assert_null(strstr(text, "122221"));
        assert_null(strstr(text, "abc"));
        assert_non_null(strstr(text, "&x=1"));
}

/* Whatever a caller hands over: one line, no control characters, no secret. */
static void test_redact_ends(void **state)
{
        static const char *const words[] = { "blob Bearer",   "SharedKey", "StorageAccountKey:",
                                             "BitLockerKey:", "sig",       "sig=" };
        char cut[300];

        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                char *exact = strdup(words[i]); /* the sanitizer sees a write behind its end */

                bth_redact(exact);
                assert_string_equal(exact, words[i]);
                free(exact);
        }
        memset(cut, 'x', sizeof cut);
        memcpy(cut + sizeof cut - 56, " 122221-244442-366663-488884-611105-013574-660000-72088",
               56);
        cut[sizeof cut - 1] = '\0';
        bth_redact_cut(cut, sizeof cut, 5000);
        assert_null(strstr(cut, "122221"));
}

static void test_log_line(void **state)
{
        const struct bth_log_field fields[] = { { "BERTH_BLOB", "a\nb\x1b[31m" },
                                                { "BERTH_JOB", NULL } };
        struct bth_error e = BTH_ERROR_INIT;
        char line[4096] = "";
        int ends[2], saved = dup(STDERR_FILENO);

        assert_int_equal(pipe(ends), 0);
        assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
        bth_log_open(BTH_LOG_TARGET_STDERR, LOG_INFO);
        bth_log_fields(LOG_WARNING, fields, "key %s and AccountKey=%s\r\n, ignoring",
                       "122221-244442-366663-488884-611105-013574-660000-720885", "c2VjcmV0");
        bth_debug("nobody hears this");
        bth_error_at(&e, "/a\tb", 3, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&e, -EINVAL, BTH_REASON_WRONG_KEY, "?sig=%s", "zzzz%3D");
        bth_log_error(LOG_ERR, &e);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        close(saved);
        close(ends[1]);
        assert_true(read(ends[0], line, sizeof line - 1) > 0);
        close(ends[0]);
        assert_non_null(strstr(line, "warning: key ****"));
        assert_non_null(strstr(line, ", ignoring [BERTH_BLOB=a\\x0ab\\x1b[31m]\n"));
        assert_non_null(strstr(line, "BERTH_REASON=wrong-key"));
        assert_null(strstr(line, "122221"));
        assert_null(strstr(line, "c2VjcmV0"));
        assert_null(strstr(line, "zzzz"));
        assert_null(strstr(line, "nobody"));
        for (const char *p = line; *p; p++)
                assert_true((unsigned char)*p >= 0x20 || *p == '\n');
}

/* Locked, not dumped, wiped; and a file that others may read is refused. */
static void test_secret(void **state)
{
        char path[] = "/tmp/berth-secret-XXXXXX", *smaps = NULL, address[32];
        struct bth_secret *s = NULL;
        const char *region;
        int fd = mkstemp(path);

        assert_int_equal(write(fd, "hush\r\n", 6), 6);
        assert_int_equal(fchmod(fd, 0644), 0);
        assert_int_equal(bth_secret_new_from_file(path, 100, true, &s), -EPERM);
        assert_int_equal(fchmod(fd, 0600), 0);
        assert_int_equal(bth_secret_new_from_file(path, 3, true, &s), -EFBIG);
        assert_int_equal(bth_secret_new_from_file(path, 100, true, &s), 0);
        assert_int_equal(s->length_bytes, 4);
        assert_string_equal((char *)s->data, "hush");
        assert_int_equal(bth_read_file("/proc/self/smaps", 64 << 20, &smaps, NULL), 0);
        snprintf(address, sizeof address, "%lx-", (unsigned long)(uintptr_t)s->data);
        region = strstr(smaps, address);
        assert_non_null(region);
        region = strstr(region, "VmFlags:");
        assert_non_null(region);
        assert_true(memmem(region, strcspn(region, "\n"), " dd", 3) != NULL); /* not in a core */
        assert_true(memmem(region, strcspn(region, "\n"), " wf", 3) != NULL); /* not in a child */
        free(smaps);
        s = bth_secret_free(s);
        close(fd);
        assert_int_equal(unlink(path), 0);
}

static void test_frame_hostile(void **state)
{
        static const struct {
                const char *bytes;
                size_t n;
                int error;
        } cases[] = {
                { "BRTH\1\0\1\0\0\0\0\0\0\0\0\0", 16, 0 },
                { "XRTH\1\0\1\0\0\0\0\0\0\0\0\0", 16, -EBADMSG },
                { "BRTH\2\0\1\0\0\0\0\0\0\0\0\0", 16, -EPROTO },
                { "BRTH\1\0\1\0\xff\xff\xff\xff\0\0\0\0", 16, -EMSGSIZE },
                { "BRTH\1\0\1\0\0\0\0\0\x09\0\0\0", 16, -EBADMSG },
                { "BRTH\1\0\1\0\x09\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0x", 25, -EBADMSG },
                { "BRTH\1\0", 6, -ENODATA },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_frame *f = NULL;

                assert_int_equal(bth_frame_parse(cases[i].bytes, cases[i].n, &f), cases[i].error);
                f = bth_frame_free(f);
        }
}

static void test_frame_round_trip(void **state)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL, *g = NULL;
        _cleanup_(bth_frame_reader_freep) struct bth_frame_reader *r = NULL;
        _cleanup_free_ char *text = NULL;
        uint64_t v;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(bth_frame_new(7, &f), 0);
        assert_int_equal(bth_frame_add_u64(f, 1, 42), 0);
        assert_int_equal(bth_frame_add_string(f, 2, "drive"), 0);
        assert_int_equal(bth_frame_add_fd(f, pair[0]), 0);
        assert_int_equal(bth_frame_send(pair[0], f), 0);
        assert_int_equal(bth_frame_reader_new(pair[1], &r), 0);
        assert_int_equal(bth_frame_read(r, &g), 1);
        assert_int_equal(bth_frame_type(g), 7);
        assert_int_equal(bth_frame_get_u64(g, 1, &v), 0);
        assert_int_equal(v, 42);
        assert_int_equal(bth_frame_get_string(g, 2, &text), 0);
        assert_string_equal(text, "drive");
        assert_int_equal(bth_frame_get_u64(g, 3, &v), -ENOENT);
        close(pair[0]);
        close(pair[1]);
}

static void test_guid(void **state)
{
        const uint8_t bytes[] = { 0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a,
                                  0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01 };
        struct bth_guid g;
        char text[BTH_GUID_TEXT_MAX];

        assert_int_equal(bth_guid_from_string("{4967D63B-2E29-4AD8-8399-F6A339E3D001}", &g), 0);
        assert_memory_equal(g.b, bytes, 16);
        assert_string_equal(bth_guid_to_string(&g, text), "4967d63b-2e29-4ad8-8399-f6a339e3d001");
}

static void test_http_dates(void **state)
{
        static const char *const none[] = {
                "",
                "Wed, 09 Apr 2031 07:15:02 UTC",
                "Wed, 9 Apr 2031 07:15:02 GMT",
                "Wed, 09 apr 2031 07:15:02 GMT",
                "Abc, 09 Apr 2031 07:15:02 GMT",
                "Sun, 30 Feb 2031 07:15:02 GMT",
                "Wed, 00 Apr 2031 07:15:02 GMT",
                "Wed, 09 Apr 2031 24:15:02 GMT",
                "Wed, 09 Apr 2031 07:60:02 GMT",
                "Wed, 09 Apr 1969 07:15:02 GMT",
                "Wed, 09 Apr -031 07:15:02 GMT",
                "Wed, 09 Apr 2031 07:15:02 GMT ",
                "Wednesday, 09-Apr-31 07:15:02",
        };
        char text[BTH_TIME_TEXT_MAX];

        assert_int_equal(bth_time_from_http("Wed, 09 Apr 2031 07:15:02 GMT"),
                         UINT64_C(1933485302000000));
        assert_int_equal(bth_time_from_http("Sat, 31 Dec 2016 23:59:60 GMT"),
                         UINT64_C(1483228799000000));
        for (uint64_t usec = 86400 * BTH_USEC_PER_SEC; usec < UINT64_C(1) << 52;
             usec += UINT64_C(98765432123) * 1000)
                assert_int_equal(bth_time_from_http(bth_time_http(usec, text)),
                                 usec / BTH_USEC_PER_SEC * BTH_USEC_PER_SEC);
        for (size_t i = 0; i < ARRAY_SIZE(none); i++)
                assert_int_equal(bth_time_from_http(none[i]), 0);
        assert_int_equal(bth_time_from_http(NULL), 0);
}

/* Into what is free, into what must grow, and behind what is there. */
static void test_formatting(void **state)
{
        for (int n = 0; n < 400; n++) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

                assert_int_equal(bth_buf_add_string(&b, "<"), 0);
                assert_int_equal(bth_buf_add_format(&b, "%0*d", n, 7), 0);
                assert_int_equal(bth_buf_add_format(&b, "%s", ">"), 0);
                assert_int_equal(b.length, MAX(n, 1) + 2);
                assert_int_equal(strlen(b.data), b.length);
                assert_true(b.data[0] == '<' && b.data[b.length - 2] == '7');
        }
        assert_int_equal(bth_ascii_ncasecmp("Content-MD5", "content-md5: x", 11), 0);
        assert_true(bth_ascii_ncasecmp("Content", "content-md5", 11) < 0);
        assert_int_equal(bth_ascii_ncasecmp("a", "b", 0), 0);
}

static void test_utf_lone_surrogate(void **state)
{
        const uint8_t units[] = { 'a', 0, 0x3d, 0xd8, 0x00, 0xde, 0x00, 0xd8 };
        char text[BTH_UTF8_MAX_FROM_UTF16(4)];
        uint8_t back[8];
        size_t n = bth_utf16_to_utf8(units, 4, text), k;

        assert_int_equal(n, 1 + 4 + 3);
        assert_false(bth_utf8_valid(text, n));
        assert_int_equal(bth_utf8_to_utf16(text, n, back, 4, &k), 0);
        assert_int_equal(k, 4);
        assert_memory_equal(back, units, 8);
}

static void test_source_window(void **state)
{
        _cleanup_(bth_source_freep) struct bth_source *w = NULL;
        struct bth_source *m = NULL;
        char two[3] = "";

        assert_int_equal(bth_source_new_memory("abcdef", 6, &m), 0);
        assert_int_equal(bth_source_new_window(m, 2, 3, true, &w), 0);
        assert_int_equal(bth_source_read(w, 1, two, 2), 0);
        assert_string_equal(two, "de");
        assert_int_equal(bth_source_read(w, 2, two, 2), -EINVAL);
        assert_int_equal(bth_source_read(w, UINT64_MAX, two, 2), -EINVAL);
}

static void test_status(void **state)
{
        assert_string_equal(bth_drive_status_to_string(BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID),
                            "BitLockerKeyInvalid");
        assert_int_equal(bth_disposition_from_string("no-overwrite"), BTH_DISPOSITION_NO_OVERWRITE);
        assert_int_equal(bth_disposition_from_string("No-Overwrite"), -EINVAL);
}

static void test_time_from_text(void **state)
{
        static const char *const wrong[] = { "",
                                             "2031-04-09",
                                             "2031-04-09 07:15:02Z",
                                             "2031-02-30T07:15:02Z",
                                             "2031-04-09T24:15:02Z",
                                             "2031-04-09T07:15:02",
                                             "2031-04-09T07:15:02.Z",
                                             "2031-04-09T07:15:02Zx",
                                             "1969-12-31T23:59:59Z",
                                             "2031-04-09T07:15:60Z",
                                             "2031-04-09T07:15:02+02:00" };
        char text[BTH_TIME_TEXT_MAX];
        uint64_t t;

        for (uint64_t usec = 0; usec < UINT64_C(200000000000000000); usec += 1234567891234567) {
                assert_int_equal(bth_time_from_iso8601(bth_time_iso8601(usec, text), &t), 0);
                assert_int_equal(t, usec);
        }
        assert_int_equal(bth_time_from_iso8601("2024-02-29T00:00:00Z", &t), 0);
        assert_int_equal(t, UINT64_C(1709164800000000));
        assert_int_equal(bth_time_from_iso8601("1970-01-01T00:00:01.1234567Z", &t), 0);
        assert_int_equal(t, 1123456);
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(bth_time_from_iso8601(wrong[i], &t), -EINVAL);
}

static void test_exit_from_systemd(void **state)
{
        int status = 0;

        (void)state;
        assert_int_equal(bth_exit_from_systemd("exited", "86", &status), 0);
        assert_int_equal(bth_exit_explain(status, NULL), -EIO);
        assert_int_equal(bth_exit_from_systemd("exited", "0", &status), 0);
        assert_int_equal(bth_exit_explain(status, NULL), 0);
        assert_int_equal(bth_exit_from_systemd("dumped", "SEGV", &status), 0);
        assert_true(WIFSIGNALED(status) && WCOREDUMP(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
        assert_int_equal(bth_exit_from_systemd("killed", "TERM", &status), 0);
        assert_int_equal(bth_exit_explain(status, NULL), -ECANCELED);
        assert_int_equal(bth_exit_from_systemd("exited", "256", &status), -EINVAL);
        assert_int_equal(bth_exit_from_systemd("killed", "9", &status), -EINVAL);
        assert_int_equal(bth_exit_from_systemd("killed", NULL, &status), -EINVAL);
        assert_int_equal(bth_exit_from_systemd("ended", "0", &status), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_error_text),     cmocka_unit_test(test_parse),
                cmocka_unit_test(test_redact),         cmocka_unit_test(test_redact_ends),
                cmocka_unit_test(test_log_line),       cmocka_unit_test(test_secret),
                cmocka_unit_test(test_frame_hostile),  cmocka_unit_test(test_frame_round_trip),
                cmocka_unit_test(test_guid),           cmocka_unit_test(test_utf_lone_surrogate),
                cmocka_unit_test(test_source_window),  cmocka_unit_test(test_status),
                cmocka_unit_test(test_time_from_text), cmocka_unit_test(test_exit_from_systemd),
                cmocka_unit_test(test_http_dates),     cmocka_unit_test(test_formatting),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
