/* SPDX-License-Identifier: GPL-3.0-or-later */
/* xml - libxml2's push parser behind limits of ours.
 *
 * libxml2 sees UTF-8 only, without byte order mark and without declaration: this file takes them
 * off, so that no other converter is ever reached and fragments need no second way. It sees slices,
 * and before each the bytes it holds back (an unfinished tag) are counted: so a tag without end
 * stops early, and the number of attributes, which 2.9 compares in quadratic time, stays small. */
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/SAX2.h>

#include "base/le.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/utf.h"
#include "media/xml.h"

#define SLICE_BYTES       ((size_t)32 << 10)
#define UTF16_SLICE_BYTES ((size_t)8 << 10)
#define PROLOG_BYTES      1024 /* of these an XML declaration has less than a hundred */
#define MESSAGE_BYTES     200
#define VIRTUAL_ROOT      "fragments"
#define BLANKS            " \t\r\n"

enum encoding {
        ENCODING_UNKNOWN,
        ENCODING_UTF8,
        ENCODING_UTF16LE,
        ENCODING_UTF16BE,
};

struct med_xml {
        const struct med_xml_handler *handler;
        void *userdata;
        char *object;
        enum med_xml_flags flags;
        xmlParserCtxtPtr context;
        unsigned depth; /* with the virtual root */
        size_t text_bytes;
        int failed;              /* negative errno; nothing is fed any more */
        struct bth_error *error; /* of the feed under way */

        enum encoding encoding;
        uint8_t carry[4]; /* first bytes of the file; later an unfinished UTF-16 character */
        size_t n_carry;
        bool in_body; /* the declaration is behind us */
        bool finished;
        char prolog[PROLOG_BYTES];
        size_t n_prolog;
        uint64_t lines_before; /* lines that libxml2 did not see */
};

/* -- memory that is wiped -- */

static void wiping_free(void *p)
{
        if (p)
                bth_wipe(p, malloc_usable_size(p));
        free(p);
}

static void *wiping_realloc(void *p, size_t n)
{
        void *fresh = malloc(n > 0 ? n : 1);

        if (!fresh)
                return NULL;
        if (p) {
                memcpy(fresh, p, MIN(n, malloc_usable_size(p)));
                wiping_free(p);
        }
        return fresh;
}

static void set_up_library(void)
{
        (void)xmlMemSetup(wiping_free, malloc, wiping_realloc, strdup);
        xmlInitParser();
}

/* -- failing -- */

uint64_t med_xml_line(const struct med_xml *x)
{
        int line = x->context->input ? x->context->input->line : 1;

        return x->lines_before + (line > 0 ? (uint64_t)line : 1);
}

static int stop(struct med_xml *x, int r)
{
        if (x->failed == 0)
                x->failed = r;
        xmlStopParser(x->context);
        return x->failed;
}

static int _printf_(3, 4) refuse(struct med_xml *x, enum bth_reason reason, const char *format, ...)
{
        char sentence[2 * MESSAGE_BYTES];
        va_list ap;

        if (x->failed < 0)
                return x->failed;
        va_start(ap, format);
        (void)vsnprintf(sentence, sizeof sentence, format, ap);
        va_end(ap);
        bth_error_at(x->error, x->object, med_xml_line(x), BTH_ERROR_NO_OFFSET);
        return stop(x, bth_error_set(x->error, -EBADMSG, reason, "%s", sentence));
}

/* libxml2's messages name elements and attributes, but quote neither values nor text. */
static void refuse_by_library(struct med_xml *x, const xmlError *e)
{
        const char *message = e->message ? e->message : "";

        (void)refuse(x, BTH_REASON_XML_SYNTAX, "it is not well-formed XML: %.*s",
                     (int)MIN(strcspn(message, "\r\n"), (size_t)MESSAGE_BYTES), message);
}

static void on_library_error(void *userdata, xmlErrorPtr e)
{
        struct med_xml *x = userdata;

        /* Namespaces are not our affair: prefixes are cut off, whether declared or not. */
        if (x->failed < 0 || e->level <= XML_ERR_WARNING || e->domain == XML_FROM_NAMESPACE)
                return;
        if (e->code == XML_ERR_NO_MEMORY)
                (void)stop(x, -ENOMEM);
        else if (e->code == XML_ERR_DOCUMENT_END || e->code == XML_ERR_DOCUMENT_EMPTY)
                (void)refuse(x, BTH_REASON_XML_SYNTAX,
                             "it ends too early, or has text outside its root element");
        else
                refuse_by_library(x, e);
}

/* -- callbacks of the library -- */

static unsigned virtual_levels(const struct med_xml *x)
{
        return x->flags & MED_XML_FRAGMENTS ? 1 : 0;
}

static void on_start(void *userdata, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_namespaces, const xmlChar **namespaces, int n_attributes,
                     int n_defaulted, const xmlChar **attributes)
{
        struct med_xml *x = userdata;
        const struct med_xml_attributes list = { .raw = attributes, .n = (size_t)n_attributes };
        int r = 0;

        if (x->failed < 0)
                return;
        x->text_bytes = 0;
        if (++x->depth <= virtual_levels(x))
                return;
        if (x->depth - virtual_levels(x) > MED_XML_MAX_DEPTH)
                r = refuse(x, BTH_REASON_LIMIT_EXCEEDED, "elements are nested more than %u deep",
                           MED_XML_MAX_DEPTH);
        else if (list.n > MED_XML_MAX_ATTRIBUTES)
                r = refuse(x, BTH_REASON_LIMIT_EXCEEDED, "an element has more than %u attributes",
                           MED_XML_MAX_ATTRIBUTES);
        else if (x->handler->start)
                r = x->handler->start(x->userdata, (const char *)name, &list, med_xml_line(x));
        if (r < 0)
                (void)stop(x, r);
}

static void on_text(void *userdata, const xmlChar *text, int n)
{
        struct med_xml *x = userdata;
        int r = 0;

        if (x->failed < 0 || n <= 0)
                return;
        if ((size_t)n > MED_XML_MAX_TEXT_BYTES - x->text_bytes) {
                (void)refuse(x, BTH_REASON_LIMIT_EXCEEDED, "a text is longer than %zu bytes",
                             MED_XML_MAX_TEXT_BYTES);
                return;
        }
        x->text_bytes += (size_t)n;
        if (x->handler->text)
                r = x->handler->text(x->userdata, (const char *)text, (size_t)n);
        if (r < 0)
                (void)stop(x, r);
}

static void on_end(void *userdata, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
        struct med_xml *x = userdata;
        int r = 0;

        if (x->failed < 0)
                return;
        x->text_bytes = 0;
        if (x->depth-- <= virtual_levels(x)) {
                if (!x->finished)
                        (void)refuse(x, BTH_REASON_XML_SYNTAX, "an end tag has no start tag");
                return;
        }
        if (x->handler->end)
                r = x->handler->end(x->userdata, (const char *)name, med_xml_line(x));
        if (r < 0)
                (void)stop(x, r);
}

static void on_document_type(void *userdata, const xmlChar *name, const xmlChar *external_id,
                             const xmlChar *system_id)
{
        (void)refuse(userdata, BTH_REASON_XML_FORBIDDEN,
                     "a document type (DOCTYPE) is not allowed");
}

static xmlEntityPtr on_entity(void *userdata, const xmlChar *name)
{
        xmlEntityPtr known = xmlGetPredefinedEntity(name);

        if (!known)
                (void)refuse(userdata, BTH_REASON_XML_FORBIDDEN,
                             "an entity other than &amp; &lt; &gt; &quot; &apos; is not allowed");
        return known;
}

static xmlParserInputPtr on_external(void *userdata, const xmlChar *public_id,
                                     const xmlChar *system_id)
{
        (void)refuse(userdata, BTH_REASON_XML_FORBIDDEN,
                     "a reference to another file is not allowed");
        return NULL;
}

/* -- the parser -- */

static int context_new(struct med_xml *x)
{
        xmlSAXHandler sax = {
                .initialized = XML_SAX2_MAGIC,
                .startElementNs = on_start,
                .endElementNs = on_end,
                .characters = on_text,
                .ignorableWhitespace = on_text, /* the same, so libxml2 need not tell them apart */
                .cdataBlock = on_text,
                .internalSubset = on_document_type,
                .getEntity = on_entity,
                .resolveEntity = on_external,
                .serror = on_library_error,
        };

        x->context = xmlCreatePushParserCtxt(&sax, x, NULL, 0, NULL);
        if (!x->context)
                return -ENOMEM;
        /* There are no entities but the five of XML, and NOENT makes libxml2 resolve these in
         * attributes too. */
        (void)xmlCtxtUseOptions(x->context,
                                XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_IGNORE_ENC);
        return xmlSwitchEncoding(x->context, XML_CHAR_ENCODING_UTF8) == 0 ? 0 : -ENOMEM;
}

int med_xml_new(const struct med_xml_handler *handler, void *userdata, const char *object,
                enum med_xml_flags flags, struct med_xml **ret_xml)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        int r;

        (void)pthread_once(&once, set_up_library);
        x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        x->handler = handler;
        x->userdata = userdata;
        x->flags = flags;
        x->object = strdup(object ? object : "");
        if (!x->object)
                return -ENOMEM;
        r = context_new(x);
        if (r < 0)
                return r;
        *ret_xml = take_ptr(x);
        return 0;
}

struct med_xml *med_xml_free(struct med_xml *x)
{
        if (!x)
                return NULL;
        if (x->context) {
                xmlFreeDoc(x->context->myDoc);
                xmlFreeParserCtxt(x->context);
        }
        free(x->object);
        bth_wipe(x, sizeof *x);
        free(x);
        return NULL;
}

const char *med_xml_intern(struct med_xml *x, const char *name)
{
        return (const char *)xmlDictLookup(x->context->dict, (const xmlChar *)name, -1);
}

/* Gives UTF-8 to libxml2, in slices, watching how much of it is held back. */
static int feed_body(struct med_xml *x, const char *data, size_t n)
{
        while (x->failed == 0 && n > 0) {
                const size_t take = MIN(n, SLICE_BYTES);
                const xmlParserInput *input = x->context->input;

                if (input && (size_t)(input->end - input->cur) > MED_XML_MAX_TAG_BYTES)
                        return refuse(x, BTH_REASON_LIMIT_EXCEEDED,
                                      "a tag or comment is longer than %zu bytes",
                                      MED_XML_MAX_TAG_BYTES);
                if (xmlParseChunk(x->context, data, (int)take, 0) != XML_ERR_OK && x->failed == 0 &&
                    x->context->disableSAX)
                        return refuse(x, BTH_REASON_XML_SYNTAX, "it is not well-formed XML");
                data += take;
                n -= take;
        }
        return x->failed;
}

/* -- the declaration -- */

/* Finds the value of encoding="…" in an XML declaration. */
static bool declared_encoding(const char *declaration, size_t n, const char **ret_name,
                              size_t *ret_n)
{
        const char *end = declaration + n, *close;
        const char *p = memmem(declaration, n, "encoding", strlen("encoding"));

        if (!p)
                return false;
        p += strlen("encoding");
        while (p < end && *p != '\0' && strchr(BLANKS "=", *p))
                p++;
        if (p == end || (*p != '"' && *p != '\''))
                return false;
        close = memchr(p + 1, *p, (size_t)(end - p - 1));
        if (!close)
                return false;
        *ret_name = p + 1;
        *ret_n = (size_t)(close - p - 1);
        return true;
}

static bool encoding_allowed(const struct med_xml *x, const char *name, size_t n)
{
        static const char *const utf8[] = { "UTF-8", "UTF8", "US-ASCII", "ASCII", NULL };
        static const char *const utf16[] = { "UTF-16", "UTF16", "UTF-16LE", "UTF-16BE", NULL };
        char text[16];

        if (n >= sizeof text)
                return false;
        memcpy(text, name, n);
        text[n] = '\0';
        for (const char *const *p = x->encoding == ENCODING_UTF8 ? utf8 : utf16; *p; p++)
                if (bth_ascii_casecmp(text, *p) == 0)
                        return true;
        return false;
}

/* The prolog's first `skip` bytes are done with. */
static int begin_body(struct med_xml *x, size_t skip)
{
        static const char root[] = "<" VIRTUAL_ROOT ">";
        int r = 0;

        for (size_t i = 0; i < skip; i++)
                x->lines_before += x->prolog[i] == '\n';
        x->in_body = true;
        if (x->flags & MED_XML_FRAGMENTS)
                r = feed_body(x, root, sizeof root - 1);
        return r < 0 ? r : feed_body(x, x->prolog + skip, x->n_prolog - skip);
}

/* Looks at the first PROLOG_BYTES, or all there is, from the first character that is not blank. */
static int read_prolog(struct med_xml *x)
{
        const char *close, *name;
        size_t n, n_name;

        if (x->n_prolog == 0 && x->flags & MED_XML_FRAGMENTS)
                return begin_body(x, 0);
        if (x->n_prolog == 0)
                return refuse(x, BTH_REASON_XML_SYNTAX, "it is empty");
        if (x->prolog[0] != '<')
                return refuse(x, BTH_REASON_XML_SYNTAX, "it does not begin with '<'");
        if (x->n_prolog < 6 || memcmp(x->prolog, "<?xml", 5) != 0 || x->prolog[5] == '\0' ||
            !strchr(BLANKS, x->prolog[5]))
                return begin_body(x, 0);
        close = memmem(x->prolog, x->n_prolog, "?>", 2);
        if (!close)
                return refuse(x, BTH_REASON_XML_SYNTAX, "the XML declaration has no end");
        n = (size_t)(close + 2 - x->prolog);
        if (declared_encoding(x->prolog, n, &name, &n_name) && !encoding_allowed(x, name, n_name))
                return refuse(x, BTH_REASON_NOT_TEXT,
                              "the encoding it declares is neither UTF-8 nor UTF-16, "
                              "or is not what its bytes are");
        return begin_body(x, n);
}

static int feed_utf8(struct med_xml *x, const char *data, size_t n)
{
        size_t take;
        int r;

        if (x->in_body)
                return feed_body(x, data, n);
        while (x->n_prolog == 0 && n > 0 && *data != '\0' && strchr(BLANKS, *data)) {
                x->lines_before += *data == '\n';
                data++;
                n--;
        }
        take = MIN(n, PROLOG_BYTES - x->n_prolog);
        if (take > 0)
                memcpy(x->prolog + x->n_prolog, data, take);
        x->n_prolog += take;
        if (x->n_prolog < PROLOG_BYTES)
                return 0;
        r = read_prolog(x);
        return r < 0 ? r : feed_body(x, data + take, n - take);
}

/* -- UTF-16 -- */

static uint16_t unit_at(const struct med_xml *x, const uint8_t *b)
{
        const uint16_t unit = bth_load_le16(b);

        return x->encoding == ENCODING_UTF16BE ? __builtin_bswap16(unit) : unit;
}

/* Converts one slice, without an unfinished character at its end, and says how much that was. A
 * lone surrogate becomes bytes that are not UTF-8, and libxml2 refuses them. */
static int feed_utf16_slice(struct med_xml *x, const uint8_t *data, size_t n, size_t *ret_used)
{
        uint8_t units[UTF16_SLICE_BYTES];
        char text[BTH_UTF8_MAX_FROM_UTF16(UTF16_SLICE_BYTES / 2)];

        n = MIN(n, sizeof units) & ~(size_t)1;
        if (n >= 2 && (unit_at(x, data + n - 2) & 0xFC00) == 0xD800)
                n -= 2;
        for (size_t i = 0; i < n; i += 2) {
                bth_store_le16(units + i, unit_at(x, data + i));
        }
        *ret_used = n;
        return feed_utf8(x, text, bth_utf16_to_utf8(units, n / 2, text));
}

static int feed_utf16(struct med_xml *x, const uint8_t *data, size_t n)
{
        size_t used;
        int r = 0;

        /* First the character that the last piece began. */
        while (r == 0 && x->n_carry > 0 && n > 0) {
                x->carry[x->n_carry++] = *data++;
                n--;
                r = feed_utf16_slice(x, x->carry, x->n_carry, &used);
                if (r == 0 && used == 0 && x->n_carry == sizeof x->carry)
                        return refuse(x, BTH_REASON_NOT_TEXT, "it is not valid UTF-16");
                x->n_carry -= used;
                memmove(x->carry, x->carry + used, x->n_carry);
        }
        while (r == 0 && n > 0) {
                r = feed_utf16_slice(x, data, n, &used);
                data += used;
                n -= used;
                if (r == 0 && used == 0 && n < sizeof x->carry) {
                        memcpy(x->carry, data, n);
                        x->n_carry = n;
                        break;
                }
        }
        return r;
}

static int feed_encoded(struct med_xml *x, const uint8_t *data, size_t n)
{
        return x->encoding == ENCODING_UTF8 ? feed_utf8(x, (const char *)data, n)
                                            : feed_utf16(x, data, n);
}

/* Tells the encoding by the first bytes, which lie in `carry`, and feeds what is behind the mark.
 */
static int detect_encoding(struct med_xml *x)
{
        uint8_t first[sizeof x->carry];
        const size_t n = x->n_carry;
        size_t mark = 0;

        memcpy(first, x->carry, sizeof first);
        x->n_carry = 0;
        x->encoding = ENCODING_UTF8;
        if (n >= 3 && memcmp(first, "\xEF\xBB\xBF", 3) == 0) {
                mark = 3;
        } else if (n >= 2 && memcmp(first, "\xFF\xFE", 2) == 0) {
                x->encoding = ENCODING_UTF16LE;
                mark = 2;
        } else if (n >= 2 && memcmp(first, "\xFE\xFF", 2) == 0) {
                x->encoding = ENCODING_UTF16BE;
                mark = 2;
        } else if (n >= 2 && memcmp(first, "<\0", 2) == 0) {
                x->encoding = ENCODING_UTF16LE;
        } else if (n >= 2 && memcmp(first, "\0<", 2) == 0) {
                x->encoding = ENCODING_UTF16BE;
        }
        return feed_encoded(x, first + mark, n - mark);
}

/* -- feeding -- */

int med_xml_feed(struct med_xml *x, const void *data, size_t n, struct bth_error *error)
{
        const uint8_t *bytes = data;
        int r = x->failed;

        x->error = error;
        while (r == 0 && n > 0 && x->encoding == ENCODING_UNKNOWN) {
                x->carry[x->n_carry++] = *bytes++;
                n--;
                if (x->n_carry == sizeof x->carry)
                        r = detect_encoding(x);
        }
        if (r == 0 && n > 0)
                r = feed_encoded(x, bytes, n);
        x->error = NULL;
        return r;
}

static int finish(struct med_xml *x)
{
        static const char root_end[] = "</" VIRTUAL_ROOT ">";
        int r = 0;

        if (x->encoding == ENCODING_UNKNOWN)
                r = detect_encoding(x);
        if (r == 0 && x->n_carry > 0)
                r = refuse(x, BTH_REASON_NOT_TEXT, "it ends inside a character");
        if (r == 0 && !x->in_body)
                r = read_prolog(x);
        x->finished = true;
        if (r == 0 && x->flags & MED_XML_FRAGMENTS)
                r = feed_body(x, root_end, sizeof root_end - 1);
        if (r == 0 && xmlParseChunk(x->context, NULL, 0, 1) != XML_ERR_OK && x->failed == 0 &&
            x->context->disableSAX)
                r = refuse(x, BTH_REASON_XML_SYNTAX, "it is not well-formed XML");
        return r < 0 ? r : x->failed;
}

int med_xml_finish(struct med_xml *x, struct bth_error *error)
{
        int r = x->failed;

        if (r < 0 || x->finished)
                return r;
        x->error = error;
        r = finish(x);
        x->error = NULL;
        return r;
}

int med_xml_parse(const void *data, size_t n, const struct med_xml_handler *handler, void *userdata,
                  const char *object, enum med_xml_flags flags, struct bth_error *error)
{
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        int r = med_xml_new(handler, userdata, object, flags, &x);

        if (r == 0)
                r = med_xml_feed(x, data, n, error);
        return r < 0 ? r : med_xml_finish(x, error);
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void med_xml_trim(const char **text, size_t *n)
{
        const char *start = *text, *end = start + *n;

        while (start < end && is_blank(*start))
                start++;
        while (end > start && is_blank(end[-1]))
                end--;
        *text = start;
        *n = (size_t)(end - start);
}

void med_xml_trim_layout(const char **text, size_t *n)
{
        const char *end = *text + *n, *inner = *text;
        size_t n_inner = *n;

        med_xml_trim(&inner, &n_inner);
        if (memchr(inner + n_inner, '\n', (size_t)(end - inner) - n_inner))
                end = inner + n_inner;
        if (memchr(*text, '\n', (size_t)(inner - *text)))
                *text = inner;
        *n = (size_t)(end - *text);
}
