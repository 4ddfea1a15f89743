/* Operators of our own for ONNX Runtime, in the domain "lacuna": what it calls when a session registers the library. */

#include "operators.h"

__attribute__((visibility("default"))) Status *RegisterCustomOps(void *options, const Base *base) {
    const Api api = base->get(INTERFACE);
    if (api == NULL)
        return NULL; /* older than the interface: the session then says that it does not know the operators */
    void *domain;
    CHECK(CALL(api, CREATE_DOMAIN, const char *, void **)("lacuna", &domain));
    CHECK(CALL(api, ADD_OPERATOR, void *, const Operator *)(domain, &MATMUL_PACKED));
    CHECK(CALL(api, ADD_OPERATOR, void *, const Operator *)(domain, &ATTENTION));
    return CALL(api, ADD_DOMAIN, void *, void *)(options, domain);
}
