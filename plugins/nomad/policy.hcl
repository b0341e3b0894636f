# The least rights of the gateway in a Nomad namespace, here "default". One block for each namespace.
namespace "default" {
  # Scaling and calling: the profile nomad-scale-only.
  capabilities = ["list-jobs", "read-job", "read-job-scaling", "scale-job"]

  # Deploying and logs besides: the profile nomad.
  # capabilities = ["list-jobs", "read-job", "read-job-scaling", "scale-job", "submit-job", "read-logs"]
}

# Not needed: the release of the servers in /system/info.
# node {
#   policy = "read"
# }
