"""What checkov finds and we leave as it is: the check, which objects it may be about, and why.

A finding that is not listed fails the test, and so does an exception that nothing needs any more.
"""

EXCEPTIONS = {
    "CKV_K8S_8": (
        r"Pod\..*-test",
        "A pod of `helm test` asks once and ends: there is nothing to be alive for.",
    ),
    "CKV_K8S_9": (
        r"Pod\..*-test",
        "Nobody sends requests to a pod of `helm test`.",
    ),
    "CKV_K8S_15": (
        r".*",
        "Tags of ours never move (prd-<timestamp>), so a node need not ask the registry for an image it has, and a pod "
        "starts while the registry is away. `image.pullPolicy` says otherwise for who moves tags.",
    ),
    "CKV_K8S_35": (
        r"Deployment\..*",
        "Off AWS the SDK takes keys from variables only; a file would need its own profile and a volume. On EKS there "
        "are no keys. The application chart takes the variables its user gives it.",
    ),
    "CKV_K8S_40": (
        r"Deployment\.example\.example-application-chart",
        "The application chart runs an image as the user that image names, which must not be root; "
        "`podSecurityContext` sets another. The tenant chart's pods run as 65532.",
    ),
    "CKV_K8S_43": (
        r".*",
        "Releases are named by tag: what the image automation writes. `image.digest` pins an image for who wants that.",
    ),
}
