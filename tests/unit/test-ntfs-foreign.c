/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-foreign - volumes that mkntfs made and ntfs-3g wrote, with everything a customer's volume
 * may hold, compared with what was written: compressed, sparse, fragmented beyond one record, hard
 * links, streams, links, offline and encrypted files, odd names, much deleted and written again. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/le.h"
#include "media/ntfs_scan.h"
#include "tests/lib/ntfs-image.h"

#define INDEX_BYTES (64u << 20)

static const char script[] =
        "import os,random,sys\n"
        "m,t=(a.encode() for a in sys.argv[1:3])\n"
        "r=random.Random(20141101)\n"
        "text=lambda n:(b'%08d the quick brown fox; '*(n//30+1))[:n] if n<30 else\\\n"
        "  b''.join(b'%08d the quick brown fox; '%i for i in range(n//30+1))[:n]\n"
        "def p(root,name): return root+b'/'+(name if isinstance(name,bytes) else name.encode())\n"
        "def w(name,data):\n"
        "  for root in (m,t):\n"
        "    with open(p(root,name),'wb') as f: f.write(data)\n"
        "def d(name):\n"
        "  for root in (m,t): os.makedirs(p(root,name))\n"
        "def attributes(name,v): "
        "os.setxattr(p(m,name),'system.ntfs_attrib_be',v.to_bytes(4,'big'))\n"
        "d('packed'); attributes('packed',0x810)\n"
        "w('packed/text',text(200003))\n"
        "w('packed/noise',r.randbytes(150001))\n"
        "w('packed/zeros',bytes(300000)+text(5)+bytes(100000))\n"
        "w('packed/mixed',b''.join(r.randbytes(65536)+text(65536) for i in range(8)))\n"
        "w('packed/tiny',text(100))\n"
        "w('packed/one-unit',text(65536))\n"
        "w('packed/two-units',text(131072))\n"
        "w('packed/empty',b'')\n"
        "d('sparse')\n"
        "for root in (m,t):\n"
        "  with open(p(root,'sparse/end'),'wb') as f: f.seek(3<<20); f.write(text(5000))\n"
        "  with open(p(root,'sparse/hollow'),'wb') as f: f.truncate(5<<20)\n"
        "  with open(p(root,'sparse/comb'),'wb') as f:\n"
        "    for i in range(2000): f.seek(i*3*4096+i%7); f.write(b'%d'%i)\n"
        "  with open(p(root,'sparse/huge'),'wb') as f: f.seek(1<<40); f.write(b'end')\n"
        "d('pieces')\n"
        "for root in (m,t):\n"
        "  fs=[open(p(root,'pieces/%d'%k),'wb',0) for k in range(3)]\n"
        "  for i in range(700):\n"
        "    for k in range(3):\n"
        "      fs[k].write((b'%d %d '%(i,k))*(700+i%3))\n"
        "      if root==m: os.fsync(fs[k].fileno())\n"
        "d('links'); w('links/one',text(50000))\n"
        "for root in (m,t):\n"
        "  os.link(p(root,'links/one'),p(root,'links/two'))\n"
        "  os.link(p(root,'links/one'),p(root,'three'))\n"
        "d('names')\n"
        "for n in ('n'*255,'\\U0001f600'*60,'trailing dot.','trailing space ','%20%','CON','a.',\n"
        "  'Case','CASE',b'lone-\\xed\\xa0\\x80-surrogate','\\u00df\\u0131\\u1e9e',"
        "'colon:','q?*\"<>|'):\n"
        "  w(p(b'names',n),p(b'x',n))\n"
        "d('/'.join('level%d'%i for i in range(40))); "
        "w('/'.join('level%d'%i for i in range(40))+'/file',b'deep')\n"
        "d('used'); alive=[]\n"
        "for i in range(2500):\n"
        "  a=r.random()\n"
        "  if a<.5 or not alive:\n"
        "    alive.append(b'used/%d-%d'%(i,r.randrange(10**r.randrange(1,30))));"
        "w(alive[-1],r.randbytes(r.choice((0,1,300,699,5000,40000))))\n"
        "  elif a<.8:\n"
        "    n=alive.pop(r.randrange(len(alive)))\n"
        "    for root in (m,t): os.unlink(p(root,n))\n"
        "  else:\n"
        "    n=r.choice(alive);z=r.randrange(60000);b=r.randbytes(z%9000)\n"
        "    for root in (m,t):\n"
        "      with open(p(root,n),'r+b') as f: f.truncate(z//2) if i%2 else 0; f.seek(z); "
        "f.write(b)\n"
        "os.mkdir(p(m,'special'))\n"
        "open(p(m,'special/offline'),'wb').write(b'x'*5000); attributes('special/offline',0x1000)\n"
        "open(p(m,'special/sealed'),'wb').write(b'x'*5000)\n"
        "os.symlink('sealed',p(m,'special/symbolic'))\n"
        "open(p(m,'special/streams'),'wb').write(b'main')\n"
        "os.setxattr(p(m,'special/streams'),'user.Small',b's'*100)\n"
        "os.setxattr(p(m,'special/streams'),'user.Large',text(40000))\n";

static const struct {
        const char *name, *sector, *cluster;
} variants[] = {
        { "512/4096", "512", "4096" },
        { "4096/4096", "4096", "4096" },
        { "512/512", "512", "512" },
        { "512/65536", "512", "65536" },
};

struct volume {
        struct ntfs_image image;
        struct bth_source *source;
        struct med_ntfs_volume *v;
        struct med_ntfs_index *x;
        size_t n_files, n_folders, n_packed;
};

static void open_volume(struct volume *o)
{
        assert_int_equal(bth_source_new_memory(o->image.bytes, o->image.n_bytes, &o->source), 0);
        assert_int_equal(med_ntfs_open(o->source, &o->v, NULL), 0);
        assert_int_equal(med_ntfs_scan(o->v, INDEX_BYTES, &o->x, NULL), 0);
}

static void close_volume(struct volume *o)
{
        (void)med_ntfs_index_free(o->x);
        (void)med_ntfs_close(o->v);
        (void)bth_source_free(o->source);
}

static struct med_ntfs_file *open_file(const struct volume *o, const char *path)
{
        struct med_ntfs_found found;
        struct med_ntfs_file *f;

        assert_int_equal(med_ntfs_index_find(o->x, path, &found), 0);
        assert_int_equal(med_ntfs_file_open(o->v, found.reference, &f), 0);
        assert_int_equal(f->status, found.status);
        return f;
}

/* ---- compared with the truth ---- */

static void compare_data(const char *path, struct med_ntfs_file *f, int fd)
{
        static uint8_t ours[100003], truth[100003]; /* no multiple of anything */
        const uint64_t size = f->source.size_bytes;
        uint64_t at = 0;

        while (at < size) {
                size_t n = (size_t)MIN(size - at, (uint64_t)sizeof ours);
                off_t data = lseek(fd, (off_t)at, SEEK_DATA);

                /* A terabyte of nothing: its ends are enough. */
                if (data < 0 || (uint64_t)data > at + (64u << 20)) {
                        struct med_ntfs_span span;

                        assert_int_equal(med_ntfs_file_span(f, at, &span), 1);
                        if (span.kind == MED_NTFS_SPAN_ZERO) {
                                at += span.length_bytes;
                                continue;
                        }
                }
                if (bth_source_read(&f->source, at, ours, n) < 0)
                        fail_msg("%s cannot be read at %ju", path, (uintmax_t)at);
                assert_int_equal(bth_pread_full(fd, truth, n, at), 0);
                if (memcmp(ours, truth, n) != 0)
                        fail_msg("%s differs after %ju", path, (uintmax_t)at);
                at += n;
        }
}

static int compare(void *context, const char *path, const struct med_ntfs_found *found)
{
        struct volume *o = context;
        struct med_ntfs_file *f;
        char truth[9000];
        struct stat st;
        int fd;

        if (strncmp(path, "\\special", 8) == 0)
                return 1;
        (void)snprintf(truth, sizeof truth, "%s/t%s", o->image.folder, path);
        for (char *p = truth; *p; p++)
                if (*p == '\\')
                        *p = '/';
        if (found->directory) {
                o->n_folders++;
                assert_int_equal(found->status, MED_NTFS_IS_DIRECTORY);
                return 0;
        }
        o->n_files++;
        fd = open(truth, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                fail_msg("%s is not in the truth", truth);
        assert_int_equal(found->status, MED_NTFS_OK);
        assert_int_equal(found->size_bytes, st.st_size);
        assert_int_equal(med_ntfs_file_open(o->v, found->reference, &f), 0);
        assert_int_equal(f->source.size_bytes, st.st_size);
        o->n_packed += f->packed;
        compare_data(path, f, fd);
        (void)bth_source_free(&f->source);
        (void)close(fd);
        return 0;
}

static size_t truth_files, truth_folders;

static int count(const char *path _unused_, const struct stat *st _unused_, int kind,
                 struct FTW *where _unused_)
{
        truth_files += kind == FTW_F;
        truth_folders += kind == FTW_D;
        return 0;
}

static void compare_all(struct volume *o)
{
        char truth[96];

        truth_files = truth_folders = 0;
        (void)snprintf(truth, sizeof truth, "%s/t", o->image.folder);
        assert_int_equal(nftw(truth, count, 16, FTW_PHYS), 0);
        assert_int_equal(med_ntfs_index_walk(o->x, "", compare, o), 0);
        assert_int_equal(o->n_files, truth_files);
        assert_int_equal(o->n_folders + 1, truth_folders);
        assert_int_equal(med_ntfs_index_damaged(o->x), 0);
}

/* ---- one by one ---- */

static void check_special(const struct volume *o)
{
        static const struct {
                const char *path;
                enum med_ntfs_status status;
        } expected[] = {
                { "SPECIAL/Offline", MED_NTFS_IS_OFFLINE },
                { "special\\symbolic", MED_NTFS_IS_REPARSE },
                { "special\\sealed", MED_NTFS_OK },
                { "special", MED_NTFS_IS_DIRECTORY },
        };
        uint8_t byte;

        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                struct med_ntfs_file *f = open_file(o, expected[i].path);

                assert_int_equal(f->status, expected[i].status);
                if (f->status != MED_NTFS_OK && f->source.size_bytes)
                        assert_int_equal(bth_source_read(&f->source, 0, &byte, 1), -EOPNOTSUPP);
                (void)bth_source_free(&f->source);
        }
}

static void check_streams(const struct volume *o)
{
        struct med_ntfs_found found;
        struct med_ntfs_file *f;
        char data[40000];

        assert_int_equal(med_ntfs_index_find(o->x, "special/streams", &found), 0);
        assert_int_equal(found.size_bytes, 4);
        assert_int_equal(med_ntfs_stream_open(o->v, found.reference, "SMALL", &f), 0);
        assert_int_equal(f->source.size_bytes, 100);
        assert_int_equal(bth_source_read(&f->source, 99, data, 1), 0);
        assert_int_equal(data[0], 's');
        (void)bth_source_free(&f->source);
        assert_int_equal(med_ntfs_stream_open(o->v, found.reference, "large", &f), 0);
        assert_int_equal(f->source.size_bytes, sizeof data);
        assert_int_equal(bth_source_read(&f->source, 0, data, sizeof data), 0);
        assert_memory_equal(data + 30 * 30, "00000030 the quick", 18);
        (void)bth_source_free(&f->source);
        assert_int_equal(med_ntfs_stream_open(o->v, found.reference, "none", &f), -ENOENT);
}

static void check_names(const struct volume *o)
{
        struct med_ntfs_found a, b;

        assert_int_equal(med_ntfs_index_find(o->x, "names/Case", &a), 0);
        assert_int_equal(med_ntfs_index_find(o->x, "NAMES/CASE", &b), 0);
        assert_int_not_equal(a.reference, b.reference);
        assert_int_equal(med_ntfs_index_find(o->x, "names/cASE", &b), 0);
        assert_int_equal(med_ntfs_index_find(o->x, "names/LONE-\xed\xa0\x80-SURROGATE", &b), 0);
        assert_int_equal(med_ntfs_index_find(o->x, "links/TWO", &a), 0);
        assert_int_equal(med_ntfs_index_find(o->x, "THREE", &b), 0);
        assert_int_equal(a.reference, b.reference);
        /* What was never written needs no room: a terabyte is read as fast as it is said. */
        assert_int_equal(med_ntfs_index_find(o->x, "sparse/huge", &a), 0);
        assert_int_equal(a.size_bytes, ((uint64_t)1 << 40) + 3);
}

static void check_health(const struct volume *o)
{
        struct med_ntfs_health health;
        struct bth_error error = BTH_ERROR_INIT;

        assert_int_equal(med_ntfs_check(o->v, &health, &error), 0);
        assert_false(health.dirty || health.log_dirty || health.mirror_differs || health.refused);
        assert_string_equal(o->v->label, "Kiste");
}

/* The resident value of a record's first attribute of this type, in the image itself. */
static uint8_t *value_of(const struct volume *o, uint64_t number, uint32_t type)
{
        uint8_t *place = o->image.bytes + med_ntfs_record_place(o->v, number), copy[4096];
        struct med_ntfs_record rec;
        struct med_ntfs_attribute a;
        uint32_t cursor = 0;

        memcpy(copy, place, o->v->record_bytes);
        assert_int_equal(med_ntfs_record_open(copy, o->v->record_bytes, &rec), 0);
        while (med_ntfs_attribute_next(&rec, &cursor, &a) == 1)
                if (a.type == type && a.resident)
                        return place + (a.value - copy);
        fail_msg("no such attribute");
        return NULL;
}

/* What ntfs-3g does not make is made from what it made. */
static void check_changed(struct volume *o)
{
        struct med_ntfs_found found;
        struct med_ntfs_health health;
        struct bth_error error = BTH_ERROR_INIT;
        struct med_ntfs_file *f;

        assert_int_equal(med_ntfs_index_find(o->x, "special/sealed", &found), 0);
        value_of(o, found.reference & MED_NTFS_RECORD_MASK, 0x10)[33] |= 0x40;
        value_of(o, 3, MED_NTFS_VOLUME_INFORMATION)[10] |= 1;
        assert_int_equal(med_ntfs_file_open(o->v, 1, &f), 0);
        struct med_ntfs_span span;
        assert_int_equal(med_ntfs_file_span(f, 0, &span), 1);
        (void)bth_source_free(&f->source);
        o->image.bytes[span.volume_offset_bytes + 3 * o->v->record_bytes + 8] ^= 1;
        close_volume(o);
        open_volume(o);
        f = open_file(o, "special/sealed");
        assert_int_equal(f->status, MED_NTFS_IS_ENCRYPTED);
        (void)bth_source_free(&f->source);
        assert_true(o->v->dirty);
        assert_int_equal(med_ntfs_check(o->v, &health, &error), 0);
        assert_true(health.dirty && health.mirror_differs);
}

static void check_variant(void **state)
{
        size_t i = (size_t)(uintptr_t)*state;
        struct volume o = { 0 };
        const struct ntfs_image_options options = {
                .n_bytes = 96u << 20,
                .sector = variants[i].sector,
                .cluster = variants[i].cluster,
                .label = "Kiste",
                .mount = "compression,streams_interface=xattr,special_files=wsl",
                .script = script,
        };
        int r = ntfs_image_make(&options, &o.image);

        if (r == -EOPNOTSUPP) {
                print_message("SKIP: cannot run here: mkntfs or ntfs-3g over FUSE\n");
                skip();
        }
        assert_int_equal(r, 0);
        open_volume(&o);
        compare_all(&o);
        if (strcmp(variants[i].cluster, "65536") == 0)
                assert_int_equal(o.n_packed, 0); /* NTFS compresses up to 4096 only */
        else
                assert_true(o.n_packed >= 6);
        check_special(&o);
        check_streams(&o);
        check_names(&o);
        check_health(&o);
        check_changed(&o);
        close_volume(&o);
        ntfs_image_free(&o.image);
}

int main(void)
{
        struct CMUnitTest tests[ARRAY_SIZE(variants)];

        for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
                tests[i] = (struct CMUnitTest){ .name = variants[i].name,
                                                .test_func = check_variant,
                                                .initial_state = (void *)(uintptr_t)i };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
