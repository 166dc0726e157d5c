"""Labelled images in the formats of other tools: image folders, COCO, Pascal VOC, YOLO, tables."""
