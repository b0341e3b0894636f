// The plugins that a gateway is not whole without: their folders here, and the names of their components.
// Read by the gateway's build script and by xtask.
["docker", "ecs", "faas-provider", "kubernetes", "local", "nomad"]
