"""Accepted findings of checkov: the check, a pattern of its objects, and the reason.

The test fails on a finding that is not listed, and on an exception without a finding.
"""

EXCEPTIONS = {
    "CKV_K8S_8": (
        r"Pod\..*-test",
        "A pod of `helm test` sends one request and ends, so it needs no liveness probe.",
    ),
    "CKV_K8S_9": (
        r"Pod\..*-test",
        "A pod of `helm test` receives no requests.",
    ),
    "CKV_K8S_15": (
        r".*",
        "Our tags never move (prd-<timestamp>), so a node can use an image it has, and a pod starts while the registry "
        "is down. `image.pullPolicy` is for tags that move.",
    ),
    "CKV_K8S_35": (
        r"Deployment\..*",
        "Off AWS the SDK reads keys from variables; a file would need its own profile and a volume. On EKS there are "
        "no keys. The application chart passes on its user's variables.",
    ),
    "CKV_K8S_40": (
        r"Deployment\.example\.example-application-chart",
        "The application chart runs an image as the image's own user, which must not be root; `podSecurityContext` "
        "overrides it. The tenant chart's pods run as 65532.",
    ),
    "CKV_K8S_43": (
        r".*",
        "Releases are named by tag, because the image automation writes tags. `image.digest` pins an image.",
    ),
}
