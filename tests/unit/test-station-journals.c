/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-journals - what customers wrote, read by the real worker in its sandbox; and a worker
 * that crashes, lies or is silent over a journal is one error with the journal's name. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "daemon/journals.h"

static char real_worker[512], odd_worker[512];

static const char two_drives[] =
        "[BeginUpdateRecord][2016/11/01 21:24:25.379][Type:NewJournalFile]\r\n"
        "VocabularyVersion: 2013-02-01\r\n[EndUpdateRecord]\r\n"
        "[BeginUpdateRecord][2016/11/01 21:24:25.426][Type:ActivityRecord]\r\n"
        "ActivityId: PrepImportDriveCommandContext\r\nStorageAccountKey: c2VjcmV0\r\n"
        "[EndUpdateRecord]\r\n"
        "[BeginUpdateRecord][2016/11/01 21:24:26.000][Type:ActivityRecord]\r\n"
        "ActivityId: DriveInfo\r\nDriveState: [BeginValue]\r\n"
        "<Drive><DriveId>9WM35C2V</DriveId><BitLockerKey>"
        "447062-369370-282953-484484-205029-308352-340461-184679</BitLockerKey>"
        "<ManifestFile>\\DriveManifest.xml</ManifestFile>"
        "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>\r\n"
        "[EndValue]\r\n[EndUpdateRecord]\r\n"
        "[BeginUpdateRecord][2016/11/01 21:24:27.000][Type:ActivityRecord]\r\n"
        "ActivityId: DriveInfo\r\nDriveState: [BeginValue]\r\n"
        "<Drive><DriveId>SECOND 1</DriveId>"
        "<ManifestFile>\\DriveManifest.xml</ManifestFile>"
        "<ManifestHash>209B21108597EF36D5785F08303F3638</ManifestHash></Drive>\r\n"
        "[EndValue]\r\n[EndUpdateRecord]\r\n";
static const char one_drive[] =
        "<?xml version=\"1.0\"?><Drive><DriveId>XML1</DriveId>"
        "<ManifestFile>\\DriveManifest.xml</ManifestFile>"
        "<ManifestHash>309B21108597EF36D5785F08303F3638</ManifestHash></Drive>";

struct given {
        const char *name, *text;
        size_t n; /* 0: up to its NUL */
};

struct seen {
        sd_event *loop;
        struct dmn_journals *reading;
        struct dmn_journals_result *result;
        struct bth_error error;
        unsigned n_calls;
};

static void done(void *userdata, struct dmn_journals_result *result, const struct bth_error *error)
{
        struct seen *s = userdata;

        s->n_calls++;
        s->result = result;
        if (error)
                s->error = *error;
        s->reading = dmn_journals_free(s->reading); /* from its own callback */
        assert_int_equal(sd_event_exit(s->loop, 0), 0);
}

static void run(const char *program, const struct given *given, size_t n, struct seen *s)
{
        struct dmn_journal *journals[BTH_JOURNALS_MAX] = { NULL };
        struct bth_error e = BTH_ERROR_INIT;

        *s = (struct seen){ .error = BTH_ERROR_INIT };
        assert_true(sd_event_new(&s->loop) >= 0);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(dmn_journal_new(given[i].name, given[i].text,
                                                 given[i].n ? given[i].n : strlen(given[i].text),
                                                 &journals[i], &e),
                                 0);
        if (dmn_journals_read(s->loop, program, journals, n, done, s, &s->reading, &e) < 0)
                fail_msg("%s", e.sentence);
        for (size_t i = 0; i < n; i++)
                journals[i] = dmn_journal_free(journals[i]); /* not needed any longer */
        assert_int_equal(sd_event_loop(s->loop), 0);
        assert_int_equal(s->n_calls, 1);
        assert_null(s->reading);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
        (void)sd_event_unref(s->loop);
}

static void test_reads(void **state)
{
        static const struct given given[] = { { "/srv/in/two.jrn", two_drives, 0 },
                                              { "XML1.xml", one_drive, 0 } };
        struct seen s;

        (void)state;
        run(real_worker, given, 2, &s);
        if (!s.result)
                fail_msg("%s: %s", s.error.object, s.error.sentence);
        assert_int_equal(s.result->n_drives, 3);
        assert_string_equal(s.result->drives[0].serial, "9WM35C2V");
        assert_string_equal(s.result->drives[0].manifest_file, "\\DriveManifest.xml");
        assert_string_equal(s.result->drives[0].manifest_hash, "109B21108597EF36D5785F08303F3638");
        assert_int_equal(s.result->drives[0].key->length_bytes, 55);
        assert_memory_equal(s.result->drives[0].key->data, "447062-", 7);
        assert_int_equal(s.result->drives[0].line, 11);
        assert_string_equal(s.result->drives[1].serial, "SECOND1");
        assert_null(s.result->drives[1].key);
        assert_int_equal(s.result->drives[2].journal, 1);
        assert_string_equal(s.result->drafts[2].serial, "XML1");
        assert_ptr_equal(s.result->drafts[0].key, s.result->drives[0].key);
        (void)dmn_journals_result_free(s.result);
}

/* What is odd is a note, and no error. */
static void test_notes(void **state)
{
        static const char cut_off[] = "[BeginUpdateRecord][2016/11/01 21:24:27.000][Type:Act";
        char text[sizeof two_drives + sizeof cut_off];
        const struct given given = { "cut.jrn", text, 0 };
        struct seen s;

        (void)state;
        (void)snprintf(text, sizeof text, "%s%s", two_drives, cut_off);
        run(real_worker, &given, 1, &s);
        assert_non_null(s.result);
        assert_int_equal(s.result->n_drives, 2);
        assert_true(s.result->n_notes > 0);
        assert_string_equal(s.result->notes[0].journal, "cut.jrn");
        assert_true(s.result->notes[0].sentence[0] != '\0');
        (void)dmn_journals_result_free(s.result);
}

static void expect(const char *program, const struct given *given, size_t n, int code,
                   const char *object, const char *says)
{
        struct seen s;

        run(program, given, n, &s);
        assert_null(s.result);
        if (s.error.code != code || strcmp(s.error.object, object) != 0 ||
            !strstr(s.error.sentence, says))
                fail_msg("%s: %d '%s' '%s'", given[n - 1].name, s.error.code, s.error.object,
                         s.error.sentence);
}

static void test_not_a_journal(void **state)
{
        const struct given given[] = { { "two.jrn", two_drives, 0 },
                                       { "holiday.txt", "Dear all, see you in May", 0 } };
        const struct given none = { "none.jrn",
                                    "[BeginUpdateRecord][2016/11/01 21:24:25.379]"
                                    "[Type:NewJournalFile]\r\n[EndUpdateRecord]\r\n",
                                    0 };
        const struct given binary = { "binary.jrn",
                                      "\x7f"
                                      "ELF\2\1\1\0\0\0\0\0\0\0\0\0\2",
                                      17 };

        (void)state;
        expect(real_worker, given, 2, -EBADMSG, "holiday.txt", "");
        expect(real_worker, &none, 1, -EBADMSG, "none.jrn", "names no drive");
        expect(real_worker, &binary, 1, -EBADMSG, "binary.jrn", "");
}

/* A value for which no message has room. */
static void test_too_long(void **state)
{
        static char text[6000];
        const struct given given = { "long.xml", text, 0 };
        int n = snprintf(text, sizeof text, "<Drive><DriveId>");

        (void)state;
        memset(text + n, 'A', 3000);
        (void)snprintf(text + n + 3000, sizeof text - (size_t)n - 3000,
                       "</DriveId><ManifestFile>\\m.xml</ManifestFile></Drive>");
        expect(real_worker, &given, 1, -E2BIG, "long.xml", "DriveId");
}

static void test_odd(void **state)
{
        static const struct {
                const char *name;
                const char *says;
        } cases[] = {
                { "crash", "ended its process" },   { "killed", "came to no end" },
                { "other-journal", "out of turn" }, { "too-many", "out of turn" },
                { "activity", "out of turn" },      { "unread", "ended before it was read" },
                { "fails", "cannot be read" },      { "nothing", "names no drive" },
        };
        struct seen s;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct given given = { cases[i].name, "x", 0 };

                if (strcmp(cases[i].name, "fails") == 0) /* its error names nothing */
                        expect(odd_worker, &given, 1, -EBADMSG, "", cases[i].says);
                else
                        expect(odd_worker, &given, 1, -EBADMSG, cases[i].name, cases[i].says);
        }
        run(odd_worker, &(struct given){ "good", "x", 0 }, 1, &s);
        assert_int_equal(s.result->n_drives, 1);
        (void)dmn_journals_result_free(s.result);
}

/* Of several journals the one that was being read is named. */
static void test_which(void **state)
{
        static const struct given given[] = { { "first", "x", 0 }, { "crash", "x", 0 } };

        (void)state;
        expect(odd_worker, given, 2, -EBADMSG, "crash", "ended its process");
}

static void test_silent(void **state)
{
        static const struct given given = { "silent", "x", 0 };

        (void)state;
        expect(odd_worker, &given, 1, -ETIME, "silent", "longer than");
}

static void test_refused(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_journals *reading = NULL;
        struct dmn_journal *j = NULL;
        sd_event *loop;

        (void)state;
        assert_true(sd_event_new(&loop) >= 0);
        assert_int_equal(dmn_journal_new("a.jrn", "", 0, &j, &e), -EINVAL);
        assert_string_equal(e.object, "a.jrn");
        assert_int_equal(dmn_journal_new("a.jrn", "x", DMN_JOURNAL_MAX_BYTES + 1, &j, &e), -EFBIG);
        assert_int_equal(dmn_journals_read(loop, real_worker, &j, 0, done, NULL, &reading, &e),
                         -EINVAL);
        assert_int_equal(dmn_journals_read(loop, real_worker, &j, BTH_JOURNALS_MAX + 1, done, NULL,
                                           &reading, &e),
                         -E2BIG);
        assert_int_equal(dmn_journal_new("a.jrn", "x", 1, &j, &e), 0);
        assert_int_equal(dmn_journals_read(loop, "/nonexistent", &j, 1, done, NULL, &reading, &e),
                         -EIO); /* not that something that was asked for is not there */
        assert_int_equal(e.code, -EIO);
        assert_string_equal(e.object, "/nonexistent");
        (void)dmn_journal_free(j);
        (void)sd_event_unref(loop);
}

/* The order of journals says nothing, their bytes everything. */
static void test_hash(void **state)
{
        struct dmn_journal *j[2], *swapped[2];
        char one[65], both[65], again[65];

        (void)state;
        assert_int_equal(dmn_journal_new("a", "abc", 3, &j[0], NULL), 0);
        assert_int_equal(dmn_journal_new("b", "abd", 3, &j[1], NULL), 0);
        swapped[0] = j[1];
        swapped[1] = j[0];
        assert_int_equal(dmn_journals_sha256(j, 1, one), 0);
        assert_string_equal(one,
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_int_equal(dmn_journals_sha256(j, 2, both), 0);
        assert_int_equal(dmn_journals_sha256(swapped, 2, again), 0);
        assert_string_equal(both, again);
        assert_string_not_equal(both, one);
        (void)dmn_journal_free(j[0]);
        (void)dmn_journal_free(j[1]);
}

/* The bytes cannot be changed once they were taken, and the caller's descriptor stays. */
static void test_sealed(void **state)
{
        char path[] = "/tmp/berth-test-journal-XXXXXX";
        struct dmn_journal *j;
        int fd = mkstemp(path);

        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(write(fd, "abc", 3), 3);
        assert_int_equal(dmn_journal_new_from_fd(path, fd, &j, NULL), 0);
        assert_int_equal(pwrite(j->fd, "x", 1, 0), -1);
        assert_int_equal(ftruncate(j->fd, 0), -1);
        assert_int_equal(pwrite(fd, "x", 1, 0), 1);
        close(fd);
        (void)dmn_journal_free(j);
}

static int block_child_signal(void **state)
{
        sigset_t set;

        (void)state;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        return sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads),         cmocka_unit_test(test_notes),
                cmocka_unit_test(test_not_a_journal), cmocka_unit_test(test_too_long),
                cmocka_unit_test(test_odd),           cmocka_unit_test(test_which),
                cmocka_unit_test(test_silent),        cmocka_unit_test(test_refused),
                cmocka_unit_test(test_hash),          cmocka_unit_test(test_sealed),
        };
        const char *build = getenv("BERTH_BUILD");

        (void)snprintf(real_worker, sizeof real_worker, "%s/uploader/berth-worker",
                       build ? build : ".");
        (void)snprintf(odd_worker, sizeof odd_worker, "%s/tests/tools/odd-worker",
                       build ? build : ".");
        return cmocka_run_group_tests(tests, block_child_signal, NULL);
}
