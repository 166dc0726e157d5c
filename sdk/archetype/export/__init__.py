"""Results in the formats of other tools: boxes as COCO, Pascal VOC and YOLO, and audits as model cards."""
