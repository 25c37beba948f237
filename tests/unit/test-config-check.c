/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config-check - everything that a configuration names and that is not as it should be is one
 * finding with its line; and the manual page names the keys that there are. */
#include "station-world.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/config-check.h"

#define KEY "c2VjcmV0IG9mIHRoZSBhY2NvdW50"

struct heard {
        unsigned n, n_errors;
        char text[16384];
};

static void tell(void *userdata, const struct dmn_config_finding *f)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        h->n++;
        h->n_errors += f->is_error;
        assert_true(f->error.code < 0);
        assert_true(f->error.sentence[0] != '\0');
        (void)snprintf(h->text + n, sizeof h->text - n, "%s%llu: %s\n", f->is_error ? "E" : "W",
                       (unsigned long long)f->error.line, f->error.sentence);
}

/* `%` in the text is the world's folder. */
static void check(const struct world *w, const char *text, struct heard *h)
{
        char whole[8192];
        size_t n = 0;
        int n_errors;

        for (; *text; text++)
                if (*text == '%')
                        n += (size_t)snprintf(whole + n, sizeof whole - n, "%s", w->folder);
                else
                        whole[n++] = *text;
        whole[n] = '\0';
        world_write(w, "berthd.conf", whole);
        *h = (struct heard){ .n = 0 };
        n_errors = dmn_config_check_file(world_path(w, "berthd.conf"), tell, h);
        assert_int_equal(n_errors, h->n_errors);
}

static void expect(const struct heard *h, const char *line)
{
        if (!strstr(h->text, line))
                fail_msg("'%s' is not in\n%s", line, h->text);
}

static void run(char *const argv[])
{
        posix_spawn_file_actions_t actions;
        int status;
        pid_t pid;

        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        assert_int_equal(posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0),
                         0);
        assert_int_equal(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        (void)posix_spawn_file_actions_destroy(&actions);
}

#define TEXT(text) ((char *)(uintptr_t)(text))

/* c.pem with its key k.pem. */
static void make_certificate(const struct world *w)
{
        char *const argv[] = { TEXT("openssl"),
                               TEXT("req"),
                               TEXT("-x509"),
                               TEXT("-newkey"),
                               TEXT("rsa:2048"),
                               TEXT("-nodes"),
                               TEXT("-subj"),
                               TEXT("/CN=x"),
                               TEXT("-days"),
                               TEXT("2"),
                               TEXT("-keyout"),
                               TEXT(world_path(w, "k.pem")),
                               TEXT("-out"),
                               TEXT(world_path(w, "c.pem")),
                               NULL };

        run(argv);
        assert_int_equal(chmod(world_path(w, "k.pem"), 0600), 0);
}

static void make_key(const struct world *w, const char *name)
{
        char *const argv[] = { TEXT("openssl"),           TEXT("genrsa"), TEXT("-out"),
                               TEXT(world_path(w, name)), TEXT("2048"),   NULL };

        run(argv);
        assert_int_equal(chmod(world_path(w, name), 0600), 0);
}

static void make_folder(const struct world *w, const char *name)
{
        assert_int_equal(mkdir(world_path(w, name), 0700), 0);
}

static void test_well(void **state)
{
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        world_write(&w, "key", KEY "\n");
        make_folder(&w, "spool");
        make_folder(&w, "bay");
        world_write(&w, "worker", "#!/bin/true\n");
        assert_int_equal(chmod(world_path(&w, "worker"), 0700), 0);
        make_certificate(&w);
        check(&w,
              "[station]\nstate_directory = %\nrun_directory = %\nspool_directory = %/spool\n"
              "spool_account = a\noperators = root\nworker = %/worker\n[bay A]\ndirectory = %/bay\n"
              "[account a]\ncredential = key\ncredential_file = %/key\ncontainers = $root in-1\n"
              "endpoint = https://a.example/\nca_file = %/c.pem\nclient_cert = %/c.pem\n"
              "client_key = %/k.pem\n",
              &h);
        if (h.n > 0)
                fail_msg("%s", h.text);
        world_free(&w);
}

static void test_findings(void **state)
{
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        world_write(&w, "key", KEY "\n");
        assert_int_equal(chmod(world_path(&w, "key"), 0644), 0);
        world_write(&w, "empty.pem", "nothing");
        make_certificate(&w);
        make_key(&w, "other.pem");
        check(&w,
              "[station]\n"
              "state_directory = %/none\n" /* 2 */
              "spool_directory = %/none\n"
              "spool_account = b\n"
              "operators = nobody-has-this-group\n"
              "worker = %/key\n"
              "[bay A]\n"
              "directory = %/none\n" /* 8 */
              "[account a]\n"
              "resource_id = /x\n"
              "credential = key\n"
              "credential_file = %/key\n" /* 12 */
              "containers = UPPER good-one x\n"
              "endpoint = ftp://here\n"
              "ca_file = %/empty.pem\n" /* 15 */
              "client_cert = %/c.pem\n"
              "client_key = %/other.pem\n"
              "[account b2]\n"
              "resource_id = /x\n" /* 19 */
              "credential = sas\n"
              "credential_file = photos.sas\n"
              "client_cert = %/c.pem\n"
              "ca_file = %/none.pem\n"
              "[api]\n"
              "certificate = %/c.pem\n" /* 25 */
              "key = %/key\n"
              "tokens = %/key\n"
              "listen = here\n", /* 28 */
              &h);
        expect(&h, "W2: state_directory");
        expect(&h, "E3: spool_directory");
        expect(&h, "E4: spool_account = b: there is no such [account]");
        expect(&h, "E5: operators");
        expect(&h, "E6: worker");
        expect(&h, "E8: directory");
        expect(&h, "E12: account 'a'");
        expect(&h, "open to others");
        expect(&h, "E13: containers: 'UPPER'");
        expect(&h, "E13: containers: 'x'");
        expect(&h, "E14: endpoint");
        expect(&h, "E15: ca_file");
        expect(&h, "E17: client_key");
        expect(&h, "is not the key of the certificate");
        expect(&h, "E19: the accounts 'a' and 'b2'");
        expect(&h, "W21: account 'b2': there is no systemd credential");
        expect(&h, "E22: client_cert and client_key come together");
        expect(&h, "E23: ca_file");
        expect(&h, "E26: key");
        expect(&h, "E27: tokens");
        expect(&h, "E28: listen");
        assert_null(strstr(h.text, "good-one"));
        world_free(&w);
}

/* What `berthd --check` says of the world's configuration. Returns its status. */
static int check_by_program(const struct world *w, char *out, size_t size)
{
        char program[512];
        char *const argv[] = { program, TEXT("--check"), TEXT(world_path(w, "berthd.conf")), NULL };
        /* Who changed the user may not look into its own memory for leaks. */
        char *const env[] = { TEXT("PATH=/usr/bin:/bin"), TEXT("ASAN_OPTIONS=detect_leaks=0"),
                              NULL };
        posix_spawn_file_actions_t actions;
        int ends[2], status;
        size_t n = 0;
        ssize_t got;
        pid_t pid;

        (void)snprintf(program, sizeof program, "%s/daemon/berthd", getenv("BERTH_BUILD"));
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
        assert_int_equal(posix_spawn(&pid, program, &actions, NULL, argv, env), 0);
        (void)posix_spawn_file_actions_destroy(&actions);
        (void)close(ends[1]);
        while ((got = read(ends[0], out + n, size - 1 - n)) > 0)
                n += (size_t)got;
        out[n] = '\0';
        (void)close(ends[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

/* Root can read what the daemon cannot, and must not read what only the daemon may have. */
static void test_root_looks_as_the_daemon(void **state)
{
        const uid_t user = 12345;
        char said[8192];
        struct heard h;
        struct world w;

        (void)state;
        if (geteuid() != 0 || !getenv("BERTH_BUILD"))
                skip();
        world_new(&w, NULL);
        world_write(&w, "key", KEY "\n");
        make_folder(&w, "state");
        make_folder(&w, "bay");
        world_write(&w, "worker", "#!/bin/true\n");
        assert_int_equal(chmod(world_path(&w, "worker"), 0755), 0);
        assert_int_equal(chmod(world_path(&w, "bay"), 0755), 0);
        assert_int_equal(chmod(w.folder, 0755), 0);
        assert_int_equal(chown(world_path(&w, "state"), user, user), 0);
        check(&w,
              "[station]\nstate_directory = %/state\nrun_directory = %/state\nworker = %/worker\n"
              "[bay A]\ndirectory = %/bay\n[account a]\ncredential = key\n"
              "credential_file = %/key\n",
              &h);
        assert_int_equal(chmod(world_path(&w, "berthd.conf"), 0644), 0);
        assert_int_not_equal(check_by_program(&w, said, sizeof said), 0);
        assert_non_null(strstr(said, "error: "));
        assert_non_null(strstr(said, "Permission denied"));
        assert_int_equal(chown(world_path(&w, "key"), user, user), 0);
        if (check_by_program(&w, said, sizeof said) != 0 || !strstr(said, ": well"))
                fail_msg("%s", said);
        world_free(&w);
}

/* What cannot be loaded is one finding with its line. */
static void test_not_loaded(void **state)
{
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        check(&w, "[station]\ncolour = red\n", &h);
        assert_string_equal(h.text, "E2: there is no key 'colour' in a section [station]\n");
        check(&w, "", &h); /* nothing to do, but that is not wrong */
        expect(&h, "W0: there is no [bay NAME]");
        expect(&h, "W0: there is no [account NAME]");
        world_free(&w);
}

/* The last file that sets a key is its place. */
static void test_drop_in(void **state)
{
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        make_folder(&w, "berthd.conf.d");
        world_write(&w, "berthd.conf.d/x.conf", "# two\n# three\n[station]\nspool_account = y\n");
        check(&w, "[station]\nspool_account = x\n", &h);
        expect(&h, "E4: spool_account = y");
        world_free(&w);
}

/* --- the manual page --- */

/* Is there an entry ".B key" (or ".BR key …") in the part of the page about [section]? */
static bool page_has(const char *page, const char *section, const char *key)
{
        char head[128], entry[128];
        const char *part, *end, *at;

        (void)snprintf(head, sizeof head, "\n.SH \"[%s", section);
        part = strstr(page, head);
        if (!part)
                return false;
        end = strstr(part + 1, "\n.SH ");
        (void)snprintf(entry, sizeof entry, "\n.TP\n.B %s\n", key);
        at = strstr(part, entry);
        return at && (!end || at < end);
}

static size_t count(const char *page, const char *text)
{
        size_t n = 0;

        for (const char *p = strstr(page, text); p; p = strstr(p + 1, text))
                n++;
        return n;
}

static void test_page(void **state)
{
        const char *source = getenv("BERTH_SOURCE"), *section, *key;
        char path[512];
        char *page;
        size_t n, i;

        (void)state;
        (void)snprintf(path, sizeof path, "%s/man/berthd.conf.5", source ? source : ".");
        assert_int_equal(bth_read_file(path, 1 << 20, &page, &n), 0);
        for (i = 0; (key = dmn_config_key(i, &section)); i++)
                if (!page_has(page, section, key))
                        fail_msg("berthd.conf(5) does not tell of '%s' in [%s]", key, section);
        /* And it tells of no others. */
        assert_int_equal(count(page, "\n.TP\n.B "), i);
        free(page);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_well),       cmocka_unit_test(test_findings),
                cmocka_unit_test(test_not_loaded), cmocka_unit_test(test_drop_in),
                cmocka_unit_test(test_page),       cmocka_unit_test(test_root_looks_as_the_daemon),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
