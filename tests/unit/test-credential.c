/* SPDX-License-Identifier: GPL-3.0-or-later */
/* credential - which files are taken for secrets, and that a renewed one is seen. */
#include "station-world.h"

#include <unistd.h>

#include "daemon/credential.h"

#define KEY "c2VjcmV0IG9mIHRoZSBhY2NvdW50"

static struct world w;

static int set_up(void **state)
{
        (void)state;
        world_new(&w, NULL);
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        world_free(&w);
        return 0;
}

static struct dmn_account_config account(const char *file, const char *kind)
{
        return (struct dmn_account_config){ .name = (char *)(uintptr_t) "photos",
                                            .credential_kind = (char *)(uintptr_t)kind,
                                            .credential_file = (char *)(uintptr_t)file };
}

static void expect(const char *file, const char *kind, int code, const char *says)
{
        _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
        const struct dmn_account_config a = account(file, kind);
        struct bth_error e = BTH_ERROR_INIT;
        int r = dmn_credential_read(&a, &s, &e);

        if (r != code || (code < 0 && !strstr(e.sentence, says)))
                fail_msg("%s: %d %s", file, r, e.sentence);
        if (code == 0 && strcmp((const char *)s->data, says) != 0)
                fail_msg("%s: another secret was read", file);
        if (code < 0)
                assert_null(strstr(e.sentence, "c2Vj"));
}

static void test_files(void **state)
{
        const char *path = world_path(&w, "key");

        (void)state;
        world_write(&w, "key", KEY "\n");
        expect(path, "key", 0, KEY);
        assert_int_equal(chmod(path, 0400), 0);
        expect(path, "key", 0, KEY);
        for (mode_t mode = 0601; mode < 0700; mode = (mode - 0600) * 2 + 0600) {
                assert_int_equal(chmod(path, mode), 0);
                expect(path, "key", -EPERM, "open to others");
        }
        assert_int_equal(chmod(path, 0600), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(path, 4242, (gid_t)-1), 0);
                expect(path, "key", -EPERM, "another user");
                assert_int_equal(chown(path, 0, (gid_t)-1), 0);
        }
        assert_int_equal(symlink(path, world_path(&w, "link")), 0); /* its target counts */
        expect(world_path(&w, "link"), "key", 0, KEY);
        assert_int_equal(mkfifo(world_path(&w, "fifo"), 0600), 0);
        expect(world_path(&w, "fifo"), "key", -EPERM, "regular file");
        expect(w.folder, "key", -EPERM, "regular file");
        expect(world_path(&w, "none"), "key", -ENOENT, "cannot be opened");
        expect("some/where", "key", -EINVAL, "neither a path");
}

static void test_contents(void **state)
{
        static char large[BTH_ORDER_SECRET_MAX + 100];
        static const struct {
                const char *kind, *text, *read;
                int code;
        } cases[] = {
                { "key", KEY, KEY, 0 },
                { "key", KEY "\r\n", KEY, 0 },
                { "key", KEY "\n\n", "more than one line", -EINVAL },
                { "key", "", "empty", -EINVAL },
                { "key", "\n", "empty", -EINVAL },
                { "key", "c2Vj cmV0", "more than one line", -EINVAL },
                { "key", "c2Vj!cmV", "base64", -EINVAL },
                { "sas", "?sv=2021&sig=abc%3D", "?sv=2021&sig=abc%3D", 0 },
                { "sas", KEY, "no signature", -EINVAL },
                { "bearer", "eyJ0.eyJl.c2ln", "eyJ0.eyJl.c2ln", 0 },
                { "bearer", "Bearer eyJ0", "blanks", -EINVAL },
                { "bearer", large, "larger", -EFBIG },
        };

        (void)state;
        memset(large, 'a', sizeof large - 1);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                world_write(&w, "secret", cases[i].text);
                expect(world_path(&w, "secret"), cases[i].kind, cases[i].code, cases[i].read);
        }
}

static void test_systemd(void **state)
{
        (void)state;
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
        expect("photos", "key", -ENOENT, "LoadCredential=photos:FILE");
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", w.folder, 1), 0);
        world_write(&w, "photos", KEY);
        assert_int_equal(chmod(world_path(&w, "photos"), 0440),
                         0); /* as systemd's access lists look */
        expect("photos", "key", 0, KEY);
        expect("..", "key", -EPERM, "regular file");
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

/* --- watching --- */

struct heard {
        unsigned n;
        char account[64];
        struct dmn_credential_watch *watch;
        bool end;
};

static void changed(void *userdata, const char *name)
{
        struct heard *h = userdata;

        h->n++;
        (void)snprintf(h->account, sizeof h->account, "%s", name);
        if (h->end)
                h->watch = dmn_credential_watch_free(h->watch);
}

/* Everything that waits. Returns how often it was told. */
static unsigned listen_on(struct heard *h)
{
        h->n = 0;
        while (sd_event_run(w.loop, 0) > 0)
                ;
        return h->n;
}

static struct dmn_config *make_config(void)
{
        struct dmn_config *c;
        char text[1024];

        (void)snprintf(text, sizeof text,
                       "[account a]\ncredential = key\ncredential_file = %s/a.key\n"
                       "[account b]\ncredential = key\ncredential_file = %s/b.key\n"
                       "[account c]\ncredential = key\ncredential_file = /nowhere/at/all\n"
                       "[account d]\ncredential = key\ncredential_file = d\n",
                       w.folder, w.folder);
        assert_int_equal(dmn_config_parse(text, strlen(text), "t", &c, NULL), 0);
        return c;
}

static void test_watch(void **state)
{
        struct dmn_config *c;
        struct heard h = { .n = 0 };

        (void)state;
        world_write(&w, "a.key", "first");
        c = make_config();
        assert_int_equal(dmn_credential_watch(w.loop, c, changed, &h, &h.watch), 0);
        (void)dmn_config_free(c);
        assert_int_equal(listen_on(&h), 0);

        world_write(&w, "other", "x"); /* a neighbour */
        assert_int_equal(listen_on(&h), 0);
        world_write(&w, "a.key", "again"); /* by rename */
        assert_int_equal(listen_on(&h), 1);
        assert_string_equal(h.account, "a");
        world_write(&w, "b.key", "new"); /* one that was not there */
        assert_int_equal(listen_on(&h), 1);
        assert_string_equal(h.account, "b");
        assert_int_equal(unlink(world_path(&w, "b.key")), 0);
        assert_int_equal(listen_on(&h), 0);

        h.end = true; /* frees the watch from its own callback */
        world_write(&w, "b.key", "x");
        world_write(&w, "a.key", "x");
        assert_int_equal(listen_on(&h), 1);
        assert_null(h.watch);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_contents),
                cmocka_unit_test(test_systemd),
                cmocka_unit_test(test_watch),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
