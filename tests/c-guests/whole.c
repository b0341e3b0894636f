// A guest of the tests that exports every interface of the contract and uses every import. It knows nothing
// of our SDK: bindings generated for C, clang, wasi-libc.
//
// It answers with constants, each another, so that a test sees a field that is lost or swapped. What it was
// asked it writes to its state under the key `asked`: the function, then its arguments, blanks between them.
//
// `get-replicas` answers for every function the same, but for these names:
//   error-N     fails with the N-th kind of error and with all that an error can carry
//   bare-error  fails with nothing but a kind and a message
//   imports     uses every import and says in its labels what came of it

#include <stdlib.h>
#include <string.h>

#include "provider.h"

typedef provider_string_t string;
typedef wicketgate_provider_types_provider_error_t provider_error;
typedef wicketgate_provider_types_service_status_t service_status;
typedef provider_list_tuple2_string_string_t pairs;

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

// ---- Texts ----

typedef struct {
    char bytes[2048];
    size_t length;
} text;

// More than fits is left out: then the test sees that it is missing.
static void add_bytes(text *to, const void *bytes, size_t length) {
    size_t room = sizeof(to->bytes) - to->length;
    if (length > room) {
        length = room;
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void add(text *to, const char *words) { add_bytes(to, words, strlen(words)); }

static void add_string(text *to, const string *words) { add_bytes(to, words->ptr, words->len); }

static void add_optional(text *to, const string *words) {
    if (words != NULL) {
        add_string(to, words);
    } else {
        add(to, "none");
    }
}

static void add_number(text *to, uint64_t number) {
    char digits[20];
    size_t from = sizeof(digits);
    do {
        digits[--from] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add_bytes(to, digits + from, sizeof(digits) - from);
}

static void add_bool(text *to, bool value) { add(to, value ? "true" : "false"); }

static void add_pairs(text *to, const pairs *list) {
    for (size_t place = 0; place < list->len; place++) {
        if (place > 0) {
            add(to, ",");
        }
        add_string(to, &list->ptr[place].f0);
        add(to, "=");
        add_string(to, &list->ptr[place].f1);
    }
}

static void add_strings(text *to, const provider_list_string_t *list) {
    for (size_t place = 0; place < list->len; place++) {
        if (place > 0) {
            add(to, ",");
        }
        add_string(to, &list->ptr[place]);
    }
}

// A string that is only lent.
static string lent(const char *words) {
    string made = {(uint8_t *)words, strlen(words)};
    return made;
}

// A string that is given away.
static string given(const char *words) {
    string made;
    provider_string_dup(&made, words);
    return made;
}

static string given_text(const text *words) {
    string made;
    provider_string_dup_n(&made, words->bytes, words->length);
    return made;
}

static bool is(const string *words, const char *other) {
    return words->len == strlen(other) && memcmp(words->ptr, other, words->len) == 0;
}

static pairs given_pairs(size_t count, const char *const list[][2]) {
    pairs made = {malloc(count * sizeof(*made.ptr)), count};
    for (size_t place = 0; place < count; place++) {
        made.ptr[place].f0 = given(list[place][0]);
        made.ptr[place].f1 = given(list[place][1]);
    }
    return made;
}

static provider_list_string_t given_strings(size_t count, const char *const list[]) {
    provider_list_string_t made = {malloc(count * sizeof(*made.ptr)), count};
    for (size_t place = 0; place < count; place++) {
        made.ptr[place] = given(list[place]);
    }
    return made;
}

static provider_option_string_t some(const char *words) {
    provider_option_string_t made = {true, given(words)};
    return made;
}

// ---- What it was asked ----

static void write_down(const text *asked) {
    string key = lent("asked");
    provider_list_u8_t value = {(uint8_t *)asked->bytes, asked->length};
    wicketgate_host_state_expectation_t anything = {.tag = WICKETGATE_HOST_STATE_EXPECTATION_ANYTHING};
    uint64_t version;
    wicketgate_host_state_state_error_t error;
    if (!wicketgate_host_state_put(&key, &value, &anything, &version, &error)) {
        abort();
    }
}

// A function and up to two names.
static text asked(const char *function, const string *name, const string *namespace) {
    text made = {.length = 0};
    add(&made, function);
    if (name != NULL) {
        add(&made, " ");
        add_string(&made, name);
    }
    if (namespace != NULL) {
        add(&made, " ");
        add_string(&made, namespace);
    }
    return made;
}

// What a page was asked for: `to`, a blank, the cursor, a blank, the limit.
static void add_page(text *to, const string *cursor, uint32_t limit) {
    add(to, " ");
    add_optional(to, cursor);
    add(to, " ");
    add_number(to, limit);
}

// ---- service-query, scaling ----

static service_status constant_status(void) {
    static const char *const labels[][2] = {{"com.openfaas.scale.zero", "true"}, {"team", "a"}};
    static const char *const annotations[][2] = {{"note", "b"}};
    static const char *const extra[][2] = {{"more", "c"}};
    service_status made = {
        .replicas = 7,
        .available_replicas = 5,
        .min_replicas = {true, 1},
        .max_replicas = {true, 9},
        .scaling_factor = {true, 25},
        .labels = given_pairs(COUNT(labels), labels),
        .annotations = given_pairs(COUNT(annotations), annotations),
        .version = some("v-3"),
        .extra = given_pairs(COUNT(extra), extra),
    };
    return made;
}

static pairs imports(void);

bool exports_wicketgate_provider_service_query_get_replicas(string *service, string *namespace, service_status *ret,
                                                            provider_error *err) {
    if (is(service, "imports")) {
        memset(ret, 0, sizeof(*ret));
        ret->labels = imports();
        return true;
    }
    if (is(service, "bare-error")) {
        memset(err, 0, sizeof(*err));
        err->kind = WICKETGATE_PROVIDER_TYPES_ERROR_KIND_INTERNAL;
        err->message = given("bare");
        return false;
    }
    if (service->len > 6 && memcmp(service->ptr, "error-", 6) == 0) {
        static const char *const extra[][2] = {{"fact", "d"}};
        unsigned number = 0;
        for (size_t place = 6; place < service->len; place++) {
            number = number * 10 + (service->ptr[place] - '0');
        }
        text message = {.length = 0};
        add(&message, "error ");
        add_number(&message, number);
        err->kind = (wicketgate_provider_types_error_kind_t)number;
        err->message = given_text(&message);
        err->retry_after_ms = (provider_option_u64_t){true, 1500 + number};
        err->platform_status = (provider_option_u16_t){true, (uint16_t)(400 + number)};
        err->extra = given_pairs(COUNT(extra), extra);
        return false;
    }
    text question = asked("get-replicas", service, namespace);
    write_down(&question);
    *ret = constant_status();
    return true;
}

bool exports_wicketgate_provider_service_query_set_replicas(string *service, string *namespace, uint64_t count,
                                                            provider_error *err) {
    (void)err;
    text question = asked("set-replicas", service, namespace);
    add(&question, " ");
    add_number(&question, count);
    write_down(&question);
    return true;
}

bool exports_wicketgate_provider_scaling_ensure(string *service, string *namespace, uint64_t at_least,
                                                string *maybe_expected_version, service_status *ret,
                                                provider_error *err) {
    (void)err;
    text question = asked("ensure", service, namespace);
    add(&question, " ");
    add_number(&question, at_least);
    add(&question, " ");
    add_optional(&question, maybe_expected_version);
    write_down(&question);
    *ret = constant_status();
    return true;
}

// ---- watch ----

bool exports_wicketgate_provider_watch_changes(provider_list_string_t *namespaces, string *maybe_cursor,
                                               uint32_t timeout_ms, exports_wicketgate_provider_watch_change_set_t *ret,
                                               provider_error *err) {
    (void)err;
    text question = asked("changes", NULL, NULL);
    add(&question, " ");
    add_strings(&question, namespaces);
    add_page(&question, maybe_cursor, timeout_ms);
    write_down(&question);
    text namespace = {.length = 0};
    add_string(&namespace, &namespaces->ptr[0]);
    ret->changed.len = 1;
    ret->changed.ptr = malloc(sizeof(*ret->changed.ptr));
    ret->changed.ptr->function.name = given("figlet");
    ret->changed.ptr->function.namespace_ = given_text(&namespace);
    ret->changed.ptr->status = constant_status();
    ret->removed.len = 1;
    ret->removed.ptr = malloc(sizeof(*ret->removed.ptr));
    ret->removed.ptr->name = given("gone");
    ret->removed.ptr->namespace_ = given_text(&namespace);
    ret->cursor = given("c-2");
    ret->complete = maybe_cursor != NULL;
    return true;
}

// ---- endpoints ----

bool exports_wicketgate_provider_endpoints_resolve(string *service, string *namespace,
                                                   exports_wicketgate_provider_endpoints_list_endpoint_t *ret,
                                                   provider_error *err) {
    (void)err;
    text question = asked("resolve", service, namespace);
    write_down(&question);
    ret->len = 2;
    ret->ptr = calloc(2, sizeof(*ret->ptr));
    ret->ptr[0].target.tag = EXPORTS_WICKETGATE_PROVIDER_ENDPOINTS_TARGET_AUTHORITY;
    ret->ptr[0].target.val.authority = given("10.1.2.3:8080");
    ret->ptr[0].path_prefix = given("");
    ret->ptr[0].host_header = some("figlet.example");
    ret->ptr[0].tls = true;
    ret->ptr[0].ttl_ms = 1234;
    ret->ptr[0].instance = given("task-1");
    ret->ptr[1].target.tag = EXPORTS_WICKETGATE_PROVIDER_ENDPOINTS_TARGET_GRANT;
    ret->ptr[1].target.val.grant = given("platform");
    ret->ptr[1].path_prefix = given("/function/figlet");
    ret->ptr[1].ttl_ms = 3600000;
    ret->ptr[1].instance = given("");
    return true;
}

// ---- functions ----

typedef exports_wicketgate_provider_functions_function_deployment_t deployment;
typedef exports_wicketgate_provider_functions_function_resources_t resources;

static resources constant_resources(const char *memory, const char *cpu) {
    static const char *const extra[][2] = {{"gpu", "1"}};
    resources made = {some(memory), some(cpu), given_pairs(COUNT(extra), extra)};
    return made;
}

static exports_wicketgate_provider_functions_function_status_t constant_function(bool usage) {
    static const char *const variables[][2] = {{"MODE", "loud"}};
    static const char *const constraints[] = {"zone=a", "disk=ssd"};
    static const char *const secrets[] = {"token"};
    static const char *const labels[][2] = {{"team", "a"}};
    static const char *const annotations[][2] = {{"note", "b"}};
    static const char *const extra[][2] = {{"more", "c"}};
    exports_wicketgate_provider_functions_function_status_t made = {
        .deployment =
            {
                .service = given("figlet"),
                .namespace_ = given("dev"),
                .image = given("figlet:1"),
                .env_process = some("figlet -f big"),
                .env_vars = given_pairs(COUNT(variables), variables),
                .constraints = given_strings(COUNT(constraints), constraints),
                .secrets = given_strings(COUNT(secrets), secrets),
                .labels = given_pairs(COUNT(labels), labels),
                .annotations = given_pairs(COUNT(annotations), annotations),
                .limits = {true, constant_resources("128Mi", "500m")},
                .requests = {true, constant_resources("64Mi", "100m")},
                .read_only_root_filesystem = true,
                .extra = given_pairs(COUNT(extra), extra),
            },
        .replicas = 7,
        .available_replicas = 5,
        .created_at_ms = {true, 1700000000123},
        .usage = {usage, {12.5, 1048576}},
        .invocation_count = {true, 42},
    };
    return made;
}

static void add_resources(text *to, bool is_some, const resources *given) {
    if (!is_some) {
        add(to, "none");
        return;
    }
    add_optional(to, given->memory.is_some ? &given->memory.val : NULL);
    add(to, ",");
    add_optional(to, given->cpu.is_some ? &given->cpu.val : NULL);
    add(to, ",");
    add_pairs(to, &given->extra);
}

static void write_down_deployment(const char *function, const deployment *wish) {
    text question = asked(function, &wish->service, &wish->namespace_);
    add(&question, " ");
    add_string(&question, &wish->image);
    add(&question, " ");
    add_optional(&question, wish->env_process.is_some ? &wish->env_process.val : NULL);
    add(&question, " ");
    add_pairs(&question, &wish->env_vars);
    add(&question, " ");
    add_strings(&question, &wish->constraints);
    add(&question, " ");
    add_strings(&question, &wish->secrets);
    add(&question, " ");
    add_pairs(&question, &wish->labels);
    add(&question, " ");
    add_pairs(&question, &wish->annotations);
    add(&question, " ");
    add_resources(&question, wish->limits.is_some, &wish->limits.val);
    add(&question, " ");
    add_resources(&question, wish->requests.is_some, &wish->requests.val);
    add(&question, " ");
    add_bool(&question, wish->read_only_root_filesystem);
    write_down(&question);
}

bool exports_wicketgate_provider_functions_list(string *namespace, string *maybe_cursor, uint32_t limit,
                                                exports_wicketgate_provider_functions_function_page_t *ret,
                                                provider_error *err) {
    (void)err;
    text question = asked("list-functions", namespace, NULL);
    add_page(&question, maybe_cursor, limit);
    write_down(&question);
    ret->functions.len = 1;
    ret->functions.ptr = malloc(sizeof(*ret->functions.ptr));
    ret->functions.ptr[0] = constant_function(true);
    ret->next = some("f-2");
    return true;
}

bool exports_wicketgate_provider_functions_get(string *service, string *namespace, bool usage,
                                               exports_wicketgate_provider_functions_function_status_t *ret,
                                               provider_error *err) {
    (void)err;
    text question = asked("get-function", service, namespace);
    add(&question, " ");
    add_bool(&question, usage);
    write_down(&question);
    *ret = constant_function(usage);
    return true;
}

bool exports_wicketgate_provider_functions_deploy(deployment *wish, provider_error *err) {
    (void)err;
    write_down_deployment("deploy", wish);
    return true;
}

bool exports_wicketgate_provider_functions_update(deployment *wish, provider_error *err) {
    (void)err;
    write_down_deployment("update", wish);
    return true;
}

bool exports_wicketgate_provider_functions_delete(string *service, string *namespace, provider_error *err) {
    (void)err;
    text question = asked("delete-function", service, namespace);
    write_down(&question);
    return true;
}

// ---- namespaces ----

typedef exports_wicketgate_provider_namespaces_namespace_entry_t namespace_entry;

bool exports_wicketgate_provider_namespaces_list(string *maybe_cursor, uint32_t limit,
                                                 exports_wicketgate_provider_namespaces_namespace_page_t *ret,
                                                 provider_error *err) {
    (void)err;
    static const char *const names[] = {"dev"};
    text question = asked("list-namespaces", NULL, NULL);
    add_page(&question, maybe_cursor, limit);
    write_down(&question);
    ret->names = given_strings(COUNT(names), names);
    ret->next = some("n-2");
    return true;
}

bool exports_wicketgate_provider_namespaces_get(string *name, namespace_entry *ret, provider_error *err) {
    (void)err;
    static const char *const labels[][2] = {{"team", "a"}};
    static const char *const annotations[][2] = {{"note", "b"}};
    text question = asked("get-namespace", name, NULL);
    write_down(&question);
    ret->name = given("dev");
    ret->labels = given_pairs(COUNT(labels), labels);
    ret->annotations = given_pairs(COUNT(annotations), annotations);
    return true;
}

static void write_down_entry(const char *function, const namespace_entry *entry) {
    text question = asked(function, &entry->name, NULL);
    add(&question, " ");
    add_pairs(&question, &entry->labels);
    add(&question, " ");
    add_pairs(&question, &entry->annotations);
    write_down(&question);
}

bool exports_wicketgate_provider_namespaces_create(namespace_entry *entry, provider_error *err) {
    (void)err;
    write_down_entry("create-namespace", entry);
    return true;
}

bool exports_wicketgate_provider_namespaces_update(namespace_entry *entry, provider_error *err) {
    (void)err;
    write_down_entry("update-namespace", entry);
    return true;
}

bool exports_wicketgate_provider_namespaces_delete(string *name, provider_error *err) {
    (void)err;
    text question = asked("delete-namespace", name, NULL);
    write_down(&question);
    return true;
}

// ---- secrets ----

typedef exports_wicketgate_provider_secrets_secret_t secret;

bool exports_wicketgate_provider_secrets_list(string *namespace, string *maybe_cursor, uint32_t limit,
                                              exports_wicketgate_provider_secrets_secret_page_t *ret,
                                              provider_error *err) {
    (void)err;
    static const char *const names[] = {"token"};
    text question = asked("list-secrets", namespace, NULL);
    add_page(&question, maybe_cursor, limit);
    write_down(&question);
    ret->names = given_strings(COUNT(names), names);
    ret->next = some("s-2");
    return true;
}

static void write_down_secret(const char *function, const secret *wish) {
    text question = asked(function, &wish->name, &wish->namespace_);
    add(&question, " ");
    add_bytes(&question, wish->value.ptr, wish->value.len);
    write_down(&question);
}

bool exports_wicketgate_provider_secrets_create(secret *wish, provider_error *err) {
    (void)err;
    write_down_secret("create-secret", wish);
    return true;
}

bool exports_wicketgate_provider_secrets_update(secret *wish, provider_error *err) {
    (void)err;
    write_down_secret("update-secret", wish);
    return true;
}

bool exports_wicketgate_provider_secrets_delete(string *name, string *namespace, provider_error *err) {
    (void)err;
    text question = asked("delete-secret", name, namespace);
    write_down(&question);
    return true;
}

// ---- logs, about, health ----

bool exports_wicketgate_provider_logs_query(exports_wicketgate_provider_logs_log_request_t *request,
                                            string *maybe_cursor, uint32_t limit, uint32_t timeout_ms,
                                            exports_wicketgate_provider_logs_log_batch_t *ret, provider_error *err) {
    (void)err;
    text question = asked("query-logs", &request->name, &request->namespace_);
    add(&question, " ");
    add_optional(&question, request->instance.is_some ? &request->instance.val : NULL);
    add(&question, " ");
    if (request->since_ms.is_some) {
        add_number(&question, request->since_ms.val);
    } else {
        add(&question, "none");
    }
    add(&question, " ");
    if (request->tail.is_some) {
        add_number(&question, request->tail.val);
    } else {
        add(&question, "none");
    }
    add(&question, " ");
    add_bool(&question, request->follow);
    add_page(&question, maybe_cursor, limit);
    add(&question, " ");
    add_number(&question, timeout_ms);
    write_down(&question);
    ret->messages.len = 1;
    ret->messages.ptr = malloc(sizeof(*ret->messages.ptr));
    ret->messages.ptr[0].name = given("figlet");
    ret->messages.ptr[0].namespace_ = given("dev");
    ret->messages.ptr[0].instance = given("i-1");
    ret->messages.ptr[0].timestamp_ms = 1700000000456;
    ret->messages.ptr[0].text = given("hello");
    ret->next = some("l-2");
    return true;
}

bool exports_wicketgate_provider_about_describe(exports_wicketgate_provider_about_platform_t *ret,
                                                provider_error *err) {
    (void)err;
    ret->name = given("whole");
    ret->orchestration = given("clang");
    ret->release = given("1.2.3");
    ret->sha = given("abcdef");
    return true;
}

bool exports_wicketgate_provider_health_check(provider_error *err) {
    (void)err;
    text question = asked("check", NULL, NULL);
    write_down(&question);
    return true;
}

// ---- Imports ----

static void use_config(text *document, text *words, text *json, text *absent) {
    provider_string_t found;
    wicketgate_host_config_document(&found);
    add_string(document, &found);
    provider_string_free(&found);
    const struct {
        const char *key;
        text *to;
    } keys[] = {{"region", words}, {"sizes", json}, {"absent", absent}};
    for (size_t place = 0; place < COUNT(keys); place++) {
        string key = lent(keys[place].key);
        bool is_there = wicketgate_host_config_get(&key, &found);
        add_optional(keys[place].to, is_there ? &found : NULL);
        if (is_there) {
            provider_string_free(&found);
        }
    }
}

// What came of a write.
static const char *outcome(bool done, wicketgate_host_state_state_error_t *error) {
    if (done) {
        return "done";
    }
    const char *const kinds[] = {"conflict", "quota", "invalid", "unavailable"};
    const char *kind = kinds[error->tag];
    wicketgate_host_state_state_error_free(error);
    return kind;
}

static const char *put(const char *key, const char *value, size_t length, wicketgate_host_state_expectation_t expected,
                       uint64_t *version) {
    string name = lent(key);
    provider_list_u8_t bytes = {(uint8_t *)value, length};
    wicketgate_host_state_state_error_t error;
    return outcome(wicketgate_host_state_put(&name, &bytes, &expected, version, &error), &error);
}

static const char *delete(const char *key, wicketgate_host_state_expectation_t expected) {
    string name = lent(key);
    wicketgate_host_state_state_error_t error;
    return outcome(wicketgate_host_state_delete(&name, &expected, &error), &error);
}

static void use_state(text *puts, text *gets, text *lists, text *deletes, text *errors) {
    const wicketgate_host_state_expectation_t anything = {.tag = WICKETGATE_HOST_STATE_EXPECTATION_ANYTHING};
    const wicketgate_host_state_expectation_t absent = {.tag = WICKETGATE_HOST_STATE_EXPECTATION_ABSENT};
    wicketgate_host_state_expectation_t expected = {.tag = WICKETGATE_HOST_STATE_EXPECTATION_VERSION};
    uint64_t version = 0;
    uint64_t unused;
    add(puts, "absent:");
    add(puts, put("k/1", "one", 3, absent, &version));
    add(puts, " absent:");
    add(puts, put("k/1", "two", 3, absent, &unused));
    expected.val.version = version;
    add(puts, " version:");
    add(puts, put("k/1", "two", 3, expected, &version));
    add(puts, " version:");
    add(puts, put("k/1", "old", 3, expected, &unused));
    add(puts, " anything:");
    add(puts, put("k/1", "three", 5, anything, &version));

    string key = lent("k/1");
    wicketgate_host_state_option_entry_t entry;
    wicketgate_host_state_state_error_t error;
    if (wicketgate_host_state_get(&key, &entry, &error) && entry.is_some) {
        add_bytes(gets, entry.val.value.ptr, entry.val.value.len);
        add(gets, entry.val.version == version ? " at the version that was written" : " at another version");
        wicketgate_host_state_option_entry_free(&entry);
    }

    put("k/2", "x", 1, anything, &unused);
    put("k/3", "x", 1, anything, &unused);
    put("other", "x", 1, anything, &unused);
    string prefix = lent("k/");
    wicketgate_host_state_key_page_t page;
    if (wicketgate_host_state_list(&prefix, NULL, 2, &page, &error)) {
        add_strings(lists, &page.keys);
        add(lists, " next ");
        provider_option_string_t next = page.next;
        page.next.is_some = false;
        wicketgate_host_state_key_page_free(&page);
        if (next.is_some && wicketgate_host_state_list(&prefix, &next.val, 2, &page, &error)) {
            add_strings(lists, &page.keys);
            wicketgate_host_state_key_page_free(&page);
        }
        provider_option_string_free(&next);
    }

    add(deletes, "version:");
    add(deletes, delete("k/1", expected));
    expected.val.version = version;
    add(deletes, " version:");
    add(deletes, delete("k/1", expected));
    add(deletes, " anything:");
    add(deletes, delete("k/2", anything));
    if (wicketgate_host_state_get(&key, &entry, &error)) {
        add(gets, entry.is_some ? ", then still" : ", then none");
        wicketgate_host_state_option_entry_free(&entry);
    }

    static const char zeros[4096];
    add(errors, put("big", zeros, sizeof(zeros), anything, &unused));
    add(errors, " ");
    add(errors, put("", "x", 1, anything, &unused));
}

static void use_log(void) {
    const char *const levels[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
    for (size_t level = 0; level < COUNT(levels); level++) {
        text line = {.length = 0};
        add(&line, "level ");
        add(&line, levels[level]);
        string message = {(uint8_t *)line.bytes, line.length};
        provider_tuple2_string_string_t field = {lent("from"), lent("C")};
        pairs fields = {&field, 1};
        wicketgate_host_log_write((wicketgate_host_log_level_t)level, &message, &fields);
    }
}

// GET http://platform/greeting
static void use_http(text *to) {
    wasi_http_types_own_outgoing_request_t request =
        wasi_http_types_constructor_outgoing_request(wasi_http_types_constructor_fields());
    wasi_http_types_borrow_outgoing_request_t head = wasi_http_types_borrow_outgoing_request(request);
    wasi_http_types_scheme_t scheme = {.tag = WASI_HTTP_TYPES_SCHEME_HTTP};
    string authority = lent("platform");
    string path = lent("/greeting");
    wasi_http_types_method_outgoing_request_set_scheme(head, &scheme);
    wasi_http_types_method_outgoing_request_set_authority(head, &authority);
    wasi_http_types_method_outgoing_request_set_path_with_query(head, &path);

    wasi_http_outgoing_handler_own_future_incoming_response_t future;
    wasi_http_outgoing_handler_error_code_t refused;
    if (!wasi_http_outgoing_handler_handle(request, NULL, &future, &refused)) {
        add(to, "refused");
        return;
    }
    wasi_http_types_borrow_future_incoming_response_t waiting = wasi_http_types_borrow_future_incoming_response(future);
    wasi_http_types_own_pollable_t pollable = wasi_http_types_method_future_incoming_response_subscribe(waiting);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(pollable));
    wasi_io_poll_pollable_drop_own(pollable);
    wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
    if (!wasi_http_types_method_future_incoming_response_get(waiting, &answer) || answer.is_err ||
        answer.val.ok.is_err) {
        add(to, "no answer");
        return;
    }
    wasi_http_types_own_incoming_response_t response = answer.val.ok.val.ok;
    wasi_http_types_borrow_incoming_response_t answered = wasi_http_types_borrow_incoming_response(response);
    add_number(to, wasi_http_types_method_incoming_response_status(answered));
    add(to, " ");

    wasi_http_types_own_incoming_body_t body;
    wasi_http_types_own_input_stream_t stream;
    if (!wasi_http_types_method_incoming_response_consume(answered, &body) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) {
        add(to, "no body");
        return;
    }
    provider_list_u8_t bytes;
    wasi_io_streams_stream_error_t broken;
    while (wasi_io_streams_method_input_stream_blocking_read(wasi_io_streams_borrow_input_stream(stream), 64, &bytes,
                                                             &broken)) {
        add_bytes(to, bytes.ptr, bytes.len);
        provider_list_u8_free(&bytes);
    }
    wasi_io_streams_stream_error_free(&broken);
    wasi_io_streams_input_stream_drop_own(stream);
    wasi_http_types_incoming_body_drop_own(body);
    wasi_http_types_incoming_response_drop_own(response);
    wasi_http_types_future_incoming_response_drop_own(future);
}

static void use_clocks(text *to) {
    uint64_t before = wasi_clocks_monotonic_clock_now();
    wasi_clocks_wall_clock_datetime_t now;
    wasi_clocks_wall_clock_now(&now);
    bool is_monotonic = wasi_clocks_monotonic_clock_now() >= before;
    bool is_this_century = now.seconds > 1700000000;
    add(to, is_monotonic && is_this_century ? "both" : is_monotonic ? "monotonic" : "wall");
}

static void use_random(text *to) {
    provider_tuple2_u64_u64_t seed;
    wasi_random_insecure_seed_insecure_seed(&seed);
    bool is_seeded = (seed.f0 | seed.f1) != 0;
    // Two equal numbers of 64 bits would be a wonder.
    bool is_random = wasi_random_random_get_random_u64() != wasi_random_random_get_random_u64();
    add(to, is_seeded && is_random ? "both" : is_seeded ? "seed" : "random");
}

static pairs imports(void) {
    enum { DOCUMENT, TEXT, JSON, ABSENT, PUT, GET, LIST, DELETE, ERRORS, HTTP, CLOCKS, RANDOM, ALL };
    static const char *const names[ALL] = {
        "config-document", "config-text", "config-json",  "config-absent", "state-put", "state-get",
        "state-list",      "state-delete", "state-errors", "http",          "clocks",    "random",
    };
    static text found[ALL];
    memset(found, 0, sizeof(found));
    use_config(&found[DOCUMENT], &found[TEXT], &found[JSON], &found[ABSENT]);
    use_state(&found[PUT], &found[GET], &found[LIST], &found[DELETE], &found[ERRORS]);
    use_log();
    use_http(&found[HTTP]);
    use_clocks(&found[CLOCKS]);
    use_random(&found[RANDOM]);
    pairs made = {malloc(ALL * sizeof(*made.ptr)), ALL};
    for (size_t place = 0; place < ALL; place++) {
        made.ptr[place].f0 = given(names[place]);
        made.ptr[place].f1 = given_text(&found[place]);
    }
    return made;
}
