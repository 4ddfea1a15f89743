/* ONNX Runtime's C interface, as far as our operators use it. */

#ifndef LACUNA_ONNXRUNTIME_H
#define LACUNA_ONNXRUNTIME_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Places in its table of functions, to which it only appends, and the struct that describes an operator. From
 * onnxruntime_c_api.h, version 17. */

enum { INTERFACE = 17 };

enum {
    CREATE_STATUS = 0,
    CREATE_DOMAIN = 26,
    ADD_OPERATOR = 27,
    ADD_DOMAIN = 28,
    TENSOR_DATA = 51,
    COUNT_DIMENSIONS = 61,
    DIMENSIONS = 62,
    TENSOR_SHAPE = 65,
    ATTRIBUTE_FLOAT = 85,
    ATTRIBUTE_INT = 86,
    GET_INPUT = 90,
    GET_OUTPUT = 91,
    RELEASE_SHAPE = 99,
    PARALLEL_FOR = 274,
};

enum { FAIL = 1, FLOAT = 1, UINT8 = 2, INT32 = 6, FLOAT16 = 10, REQUIRED = 0, OPTIONAL = 1, DEFAULT_MEMORY = 0 };

typedef const void *const *Api;
typedef void Status; /* NULL where all went well */

typedef struct {
    Api (*get)(uint32_t version);
    const char *(*version)(void);
} Base;

typedef struct Operator Operator;
struct Operator {
    uint32_t version;
    void *(*create)(const Operator *, Api, const void *info);
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    int (*input_type)(const Operator *, size_t);
    size_t (*inputs)(const Operator *);
    int (*output_type)(const Operator *, size_t);
    size_t (*outputs)(const Operator *);
    void (*compute)(void *, void *);
    void (*destroy)(void *);
    int (*input_kind)(const Operator *, size_t);
    int (*output_kind)(const Operator *, size_t);
    int (*memory)(const Operator *, size_t);
    int (*variadic[4])(const Operator *);
    Status *(*create_with_status)(const Operator *, Api, const void *info, void **kernel);
    Status *(*compute_with_status)(void *kernel, void *context);
    Status *(*infer_shape)(const Operator *, void *);
    int (*first_version)(const Operator *);
    int (*last_version)(const Operator *);
};

#define CALL(api, place, ...) ((Status * (*)(__VA_ARGS__))(api)[place])

static inline Status *failed(Api api, const char *why) {
    return ((Status * (*)(int, const char *))api[CREATE_STATUS])(FAIL, why);
}

#define CHECK(call)                  \
    do {                             \
        Status *status = (call);     \
        if (status != NULL)          \
            return status;           \
    } while (0)

static inline Status *attribute(Api api, const void *info, const char *name, int64_t *value) {
    return CALL(api, ATTRIBUTE_INT, const void *, const char *, int64_t *)(info, name, value);
}

enum { MOST_DIMENSIONS = 8 };

/* The dimensions of a tensor; how many, or 0 where they are too many. */
static inline Status *shape_of(Api api, const void *tensor, int64_t *dimensions, size_t *count) {
    void *shape;
    CHECK(CALL(api, TENSOR_SHAPE, const void *, void **)(tensor, &shape));
    Status *status = CALL(api, COUNT_DIMENSIONS, const void *, size_t *)(shape, count);
    if (status == NULL && *count > MOST_DIMENSIONS)
        *count = 0;
    else if (status == NULL)
        status = CALL(api, DIMENSIONS, const void *, int64_t *, size_t)(shape, dimensions, *count);
    ((void (*)(void *))api[RELEASE_SHAPE])(shape);
    return status;
}

static inline int64_t numbers(const int64_t *dimensions, size_t count) {
    int64_t found = 1;
    for (size_t at = 0; at < count; at++)
        found *= dimensions[at];
    return found;
}

typedef struct {
    void *data; /* NULL where it was left out */
    int64_t dimensions[MOST_DIMENSIONS];
    size_t count; /* of dimensions, 0 where they are too many */
} Tensor;

static inline Status *tensor(Api api, const void *context, size_t at, Tensor *found) {
    const void *value;
    found->data = NULL, found->count = 0;
    CHECK(CALL(api, GET_INPUT, const void *, size_t, const void **)(context, at, &value));
    if (value == NULL)
        return NULL;
    CHECK(shape_of(api, value, found->dimensions, &found->count));
    return CALL(api, TENSOR_DATA, const void *, void **)(value, &found->data);
}

typedef void Task(void *, size_t);

static inline Status *spread_out(Api api, void *context, Task *task, int64_t count, int64_t batches, void *job) {
    return CALL(api, PARALLEL_FOR, const void *, Task *, size_t, size_t, void *)(context, task, count, batches, job);
}

/* What all our operators say of themselves. */
static inline const char *on_processor(const Operator *operator) { return (void)operator, "CPUExecutionProvider"; }
static inline int always_required(const Operator *operator, size_t at) { return (void)operator, (void)at, REQUIRED; }
static inline int in_memory(const Operator *operator, size_t at) { return (void)operator, (void)at, DEFAULT_MEMORY; }
static inline int one_version(const Operator *operator) { return (void)operator, 1; }

#endif
