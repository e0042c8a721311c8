"""The cloud side: a gateway that answers devices, and the engines that run models for it."""
